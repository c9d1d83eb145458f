//! What more tenants cost.

use super::handshakes::{AT_ONCE, Visitors, get_known, requests};
use crate::bench::{Bench, Visit};
use crate::clock::now;
use crate::fault::Result;
use crate::load::churn::Churn;
use crate::machine::pss_kib;
use crate::process::{PROXY_CORE, Process};
use crate::rivals::{Door, launch_flowgate};

pub fn visit(bench: &mut Bench, visit: &mut Visit) -> Result<()> {
    for count in bench.scale.growth {
        let variant = format!("{count} tenants");
        let tenants =
            bench.tenants.of_count(bench.folder.join(format!("growth-{count}")), *count)?;
        tenants.profiles()?;
        let is_new = !tenants.has_registry();
        let begin = now();
        let registry = tenants.registry(&bench.tools.flowgate)?;
        let import_seconds = begin.elapsed().as_secs_f64();

        let (listen, admin) = (bench.ports.give()?, bench.ports.give()?);
        let registry = format!("file:{}", registry.display());
        let launch = launch_flowgate(&bench.tools.flowgate, listen, admin, &registry, "info");
        let begin = now();
        let mut process = Process::start("flowgate", &launch, PROXY_CORE, &bench.folder)?;
        process.wait_until_it_answers(listen, "/public/t0/bytes/1")?;
        let start_seconds = begin.elapsed().as_secs_f64();
        let memory_before = pss_kib(process.pid())?;

        let next = requests(visit.rival, Door::Key, *count, Visitors::Known);
        let mut churn = Churn::begin(listen, AT_ONCE, next)?;
        get_known(&mut churn)?;
        let sample = bench.measure(&mut churn, Some(&process))?;
        let memory_after = pss_kib(process.pid())?;
        bench.keep_sample(visit, &variant, "handshake", &sample);
        bench.keep(visit, &variant, "start s", start_seconds);
        bench.keep(visit, &variant, "MiB at the start", memory_before as f64 / 1024.0);
        bench.keep(visit, &variant, "MiB afterwards", memory_after as f64 / 1024.0);
        if is_new {
            bench.keep(visit, &variant, "import s", import_seconds);
        }
    }
    Ok(())
}
