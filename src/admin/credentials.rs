//! Tenants' passwords, as operators set them.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::guard::Administrator;
use super::pages::tag;
use super::tenants::{Changed, missing};
use super::{At, Tagged};
use crate::json::{Id, Input, Private};
use crate::passwords;
use crate::refusal::Refusal;
use crate::registry::record::{PasswordRecord, TenantRecord};
use crate::secret::Secret;

/// A password, or its hash.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// 1 to 72 bytes, without a NUL.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 72)]
    password: Option<Secret>,
    /// Instead: its bcrypt hash, of cost 4 to 14.
    password_hash: Option<String>,
}

/// Gives a tenant another password; what rests on the one before ends. The same again ends nothing.
#[utoipa::path(put, path = "/admin/v1/tenants/{username}/password", tag = "credentials",
    params(("username" = String, Path)), request_body = NewPassword,
    responses((status = 200, body = Changed, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn put_password(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
    Input(input): Input<NewPassword>,
) -> Tagged<Changed> {
    let (_, _, before) = desk.record(&username).await?;
    let hash = match (input.password, input.password_hash) {
        (Some(password), None) => desk.hash(&operator, &password, Some(&before)).await?,
        (None, Some(hash)) => {
            passwords::check_hash(&hash)
                .map_err(|what| Refusal::BadInput(format!("password_hash {what}.")))?;
            hash
        }
        _ => {
            return Err(Refusal::BadInput("Give either password or password_hash.".to_owned()));
        }
    };
    let fingerprint = getrandom::u64().map_err(|_| Refusal::Overloaded("no randomness"))?;
    let change = |record: &mut TenantRecord, _| {
        if record.password.as_ref().is_none_or(|present| present.hash != hash) {
            record.password = Some(PasswordRecord { hash: hash.clone(), fingerprint });
        }
        Ok(())
    };
    let changed = desk.change(&operator, "set password", &username, change).await?;
    Ok((tag(changed.tenant.revision()), Private(StatusCode::OK, changed)))
}

/// Takes a tenant's password away; what rests on it ends.
#[utoipa::path(delete, path = "/admin/v1/tenants/{username}/password", tag = "credentials",
    params(("username" = String, Path)),
    responses((status = 200, body = Changed, headers(("ETag" = String)))),
    security(("admin_token" = ["admin"])))]
pub(super) async fn remove_password(
    Administrator(operator): Administrator,
    State(desk): At,
    Id(username): Id,
) -> Tagged<Changed> {
    let change = |record: &mut TenantRecord, _| match record.password.take() {
        Some(_) => Ok(()),
        None => Err(missing("The tenant has no password.")),
    };
    let changed = desk.change(&operator, "remove password", &username, change).await?;
    Ok((tag(changed.tenant.revision()), Private(StatusCode::OK, changed)))
}
