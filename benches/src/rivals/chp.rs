//! configurable-http-proxy, JupyterHub's, which has the same job: a route for each tenant.

use std::path::Path;

use super::Site;
use crate::process::Launch;

pub fn launch(program: &Path, site: &Site) -> Launch {
    let ip = site.listen.ip().to_string();
    let (port, api_port) = (site.listen.port().to_string(), site.spare.port().to_string());
    let target = format!("http://{}", site.runtime);
    let launch = Launch::new(
        program,
        [
            "--ip",
            &ip,
            "--port",
            &port,
            "--api-ip",
            &ip,
            "--api-port",
            &api_port,
            "--default-target",
            &target,
            "--log-level",
            "error",
        ],
    );
    launch.with("NODE_ENV", "production").with("CONFIGPROXY_AUTH_TOKEN", "bench")
}
