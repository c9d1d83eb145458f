//! Style, script and icon of the pages, under names that change with their content.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use crate::refusal::Refusal;
use crate::secret::{Secret, SecretDigest};

/// One file, as it is compiled in.
#[derive(Debug)]
struct Asset {
    name: String,
    content_type: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let digest = SecretDigest::of(&Secret::new(text.to_owned())).to_hex();
        let hash = digest.get(..16).unwrap_or_default();
        Self { name: format!("{stem}.{hash}.{extension}"), content_type, text }
    }
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    [
        Asset::new("style", "css", "text/css; charset=utf-8", include_str!("assets/style.css")),
        Asset::new("profile", "js", "text/javascript; charset=utf-8", SCRIPT),
        Asset::new("portal", "js", "text/javascript; charset=utf-8", PORTAL_SCRIPT),
        Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ]
});

/// The profile's script.
pub const SCRIPT: &str = include_str!("assets/profile.js");

/// The portal's script.
pub const PORTAL_SCRIPT: &str = include_str!("assets/portal.js");

/// The addresses of the assets, for templates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Assets;

impl Assets {
    /// The style sheet.
    #[must_use]
    pub fn style(self) -> &'static str {
        &ASSETS[0].name
    }

    /// The script.
    #[must_use]
    pub fn script(self) -> &'static str {
        &ASSETS[1].name
    }

    /// The portal's script.
    #[must_use]
    pub fn portal_script(self) -> &'static str {
        &ASSETS[2].name
    }

    /// The icon.
    #[must_use]
    pub fn icon(self) -> &'static str {
        &ASSETS[3].name
    }
}

/// `GET /assets/{name}`
pub(super) async fn serve(Path(name): Path<String>) -> Result<Response, Refusal> {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let asset = asset.ok_or(Refusal::NotFound("no such asset"))?;
    let mut response = asset.text.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, asset.content_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
