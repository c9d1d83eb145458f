//! The rows by which requests reach runtimes; the table is in `docs/wire.md`.

/// Which row a request for a runtime came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Bare host, `/public/{username}/{path}`.
    Public,
    /// Bare host, `/api/{path}`: the credential names the tenant.
    Api,
    /// Tenant host, `/api/public/{path}`.
    TenantPublic,
    /// Tenant host, `/api/{path}`.
    TenantApi,
    /// Tenant host, under the instance's `admin_root`: with that tenant's session only.
    Editor,
    /// Bare host, under the context of a published API that asks for a credential.
    Published,
    /// The same, of one that asks for none.
    PublishedOpen,
}

impl Row {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Public,
        Self::Api,
        Self::TenantPublic,
        Self::TenantApi,
        Self::Editor,
        Self::Published,
        Self::PublishedOpen,
    ];

    /// For logs and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Api => "api",
            Self::TenantPublic => "tenant_public",
            Self::TenantApi => "tenant_api",
            Self::Editor => "editor",
            Self::Published => "published",
            Self::PublishedOpen => "published_open",
        }
    }

    /// Whether it is on the host that all tenants share.
    #[must_use]
    pub fn is_on_bare_host(self) -> bool {
        matches!(self, Self::Public | Self::Api | Self::Published | Self::PublishedOpen)
    }

    /// Whether anybody may use it.
    #[must_use]
    pub fn is_public(self) -> bool {
        matches!(self, Self::Public | Self::TenantPublic | Self::PublishedOpen)
    }

    /// Whether it leads to a published API, whose callers are its consumers and no tenants.
    #[must_use]
    pub fn is_published(self) -> bool {
        matches!(self, Self::Published | Self::PublishedOpen)
    }
}
