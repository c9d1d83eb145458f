//! What keeps tenants' processes apart, and whether that is enough.

use rustix::process::geteuid;

use super::ProcessSettings;
use super::launch::try_isolation;

/// What keeps them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing but the good will of tenants who trust each other.
    Nothing,
    /// Their users alone: their files and processes are theirs, and they reach each other's ports.
    Users {
        /// Why it is no more than that.
        why: String,
    },
    /// Users, networks and process numbers of their own.
    Full,
}

impl ProcessSettings {
    /// What can be told without trying. Never without isolation or somebody's word that tenants trust
    /// each other.
    ///
    /// # Errors
    /// What has to be said first.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.users.is_none() && !self.uplink.is_empty() {
            return Err("process_uplink is for the networks that runtimes get with process_users");
        }
        match self.command.is_empty() || self.trusted_tenants || self.users.is_some() {
            true => Ok(()),
            false => Err(
                "process_command: without process_users runtimes are not isolated from each other, from \
                 the registry and from the admin listener; that takes trusted_tenants = true",
            ),
        }
    }
}

impl Isolation {
    /// What is to be had here.
    ///
    /// # Errors
    /// It is less than tenants need who do not trust each other; or see [`ProcessSettings::check`].
    pub(super) fn of(settings: &ProcessSettings) -> Result<Self, String> {
        settings.check()?;
        let Some(users) = settings.users.as_ref().filter(|_| !settings.command.is_empty()) else {
            return Ok(Self::Nothing);
        };
        if !geteuid().is_root() {
            return Err("process_users takes root, as which flowgate does not run".to_owned());
        }
        let mut orders = settings.orders(Some(*users.start()), true);
        // That may need a runtime's folder, or more than this.
        orders.uplink = Vec::new();
        match try_isolation(&settings.launcher, &orders) {
            Ok(()) => Ok(Self::Full),
            Err(why) if settings.trusted_tenants => Ok(Self::Users { why }),
            Err(why) => Err(format!(
                "runtimes cannot be isolated from each other, from the registry and from the admin \
                 listener here ({why}); that takes trusted_tenants = true"
            )),
        }
    }

    /// Whether they get networks of their own.
    #[must_use]
    pub fn is_full(&self) -> bool {
        *self == Self::Full
    }
}
