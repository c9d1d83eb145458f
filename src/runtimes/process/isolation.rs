//! What keeps tenants' processes apart, and whether that is enough.

use std::ops::RangeInclusive;

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
        if self.uplink.first().is_some_and(|program| !program.starts_with('/')) {
            return Err("process_uplink: the program must be an absolute path, as it runs as root");
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
        if let Some(theirs) = whose(users, &read("/etc/passwd"), &read("/etc/subuid")) {
            return Err(format!("process_users: {theirs} has some of these numbers"));
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

/// A system without such a file has nobody in it.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Whoever else has a number within the range: passwd(5), subuid(5). Who may use a number for others is
/// root over its files.
fn whose(range: &RangeInclusive<u32>, users: &str, subordinates: &str) -> Option<String> {
    let user = users.lines().find(|line| {
        let number = line.split(':').nth(2).and_then(|number| number.parse().ok());
        number.is_some_and(|number| range.contains(&number))
    });
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    if let Some(line) = user {
        return Some(format!("the user {}", name(line)));
    }
    let line = subordinates.lines().find(|line| {
        let mut fields = line.split(':').skip(1).map(|field| field.parse::<u32>());
        let (Some(Ok(first)), Some(Ok(count))) = (fields.next(), fields.next()) else {
            return false;
        };
        let last = first.saturating_add(count.saturating_sub(1));
        count > 0 && first <= *range.end() && last >= *range.start()
    })?;
    Some(format!("the user {}, by /etc/subuid,", name(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_has_a_number_of_a_tenant() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\nada:x:70000:70000::/home/ada:/bin/sh\n\nbad\n";
        let subordinates = "ada:100000:65536\nbob:300000:0\nbad:x:1\n";
        for (range, theirs) in [
            (70_001..=99_999, None),
            (65_536..=70_000, Some("the user ada")),
            (165_535..=165_600, Some("the user ada, by /etc/subuid,")),
            (99_000..=100_000, Some("the user ada, by /etc/subuid,")),
            (165_536..=400_000, None),
        ] {
            assert_eq!(whose(&range, users, subordinates).as_deref(), theirs, "{range:?}");
        }
    }
}
