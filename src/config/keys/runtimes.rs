//! The keys of runtimes that flowgate owns.

use super::{Key, key, list};

pub(super) const RUNTIMES: &[Key] = &[
    list(
        "process_command",
        "WORD",
        "",
        "Program and arguments, a word each, that run a tenant's runtime where its provider is \"process\"; \
         {port}, {folder} and {username} are replaced",
    ),
    key(
        "process_folder",
        "FOLDER",
        "runtimes",
        "Where those runtimes' working folders and logs are",
    ),
    key("process_ports", "FIRST-LAST", "20000-29999", "Their ports, on loopback"),
    key(
        "process_users",
        "FIRST-LAST",
        "",
        "Users by number, as 2000000000-2000099999: each tenant's runtime runs as one of its own, in a network of \
         its own; takes root",
    ),
    list(
        "process_uplink",
        "WORD",
        "",
        "Program and arguments, a word each, that give a runtime's own network a way out; {network} is \
         replaced by its name",
    ),
    key(
        "process_ready_line",
        "TEXT",
        "",
        "Text of their log that says they are ready; \"Started flows\" for Node-RED",
    ),
    list(
        "process_environment",
        "NAME",
        "",
        "Variables of flowgate's environment that they get, beside PATH, LANG, LC_ALL and TZ",
    ),
    key(
        "process_memory_max_bytes",
        "BYTES",
        "0",
        "Most memory of all processes of a runtime together, by cgroup v2, or of each without one; 0 for no limit",
    ),
    key(
        "process_cpu_max_percent",
        "N",
        "0",
        "Most processor time of a runtime, 100 for one processor, by cgroup v2; 0 for no limit",
    ),
    key(
        "process_cgroup",
        "FOLDER",
        "",
        "The cgroup (v2) below which each runtime gets its own [default: the one flowgate is started in]",
    ),
    key(
        "process_data_bytes_max",
        "BYTES",
        "1073741824",
        "Most bytes of data that one of their processes may have; 0 for no limit",
    ),
    key("process_files_max", "N", "4096", "Most files and sockets that one of them may have open"),
    key(
        "process_threads_max",
        "N",
        "512",
        "Most processes and threads that a tenant's user may have, with process_users",
    ),
    key("process_start_timeout", "SPAN", "60s", "One of them must be ready within this time"),
    key("process_stop_timeout", "SPAN", "10s", "One that is told to end is killed after this time"),
    key("process_running_max", "N", "1000", "Most of them at once"),
    key(
        "kubernetes_template",
        "FILE",
        "",
        "StatefulSet, in YAML or JSON, of a tenant's runtime where its provider is \"kubernetes\"; {name}, \
         {username} and {tenant} are replaced",
    ),
    key(
        "kubernetes_namespace",
        "NAME",
        "",
        "Where those runtimes are [default: flowgate's own namespace]",
    ),
    key(
        "kubernetes_group",
        "NAME",
        "flowgate",
        "Who owns those runtimes; another for each flowgate that has a registry of its own, in one namespace",
    ),
    list(
        "kubernetes_labels",
        "LABEL",
        "app.kubernetes.io/component=flowgate-runtime",
        "Labels of their pods, as KEY=VALUE, by which network policies find them",
    ),
    key(
        "kubernetes_cluster_domain",
        "DOMAIN",
        "cluster.local",
        "The domain of the cluster's names",
    ),
    key(
        "kubernetes_kubeconfig",
        "FILE",
        "",
        "How the API server is reached from outside the cluster; takes no proxy",
    ),
    key(
        "kubernetes_ready_line",
        "TEXT",
        "",
        "Text of their log that says they are ready; \"Started flows\" for Node-RED",
    ),
    key("kubernetes_start_timeout", "SPAN", "2m", "One of them must be ready within this time"),
    key("kubernetes_stop_timeout", "SPAN", "60s", "One of them must be gone within this time"),
    key(
        "kubernetes_remove_after_days",
        "N",
        "7",
        "What is left of a tenant who is gone is removed after so many days; volumes as the template says",
    ),
    key(
        "trusted_tenants",
        "BOOL",
        "false",
        "Whether tenants trust each other: a family, a company. Without isolation no process is run else",
    ),
    key("wake_timeout", "SPAN", "30s", "A request waits so long for a runtime that is woken"),
    key("waiting_max", "N", "1000", "Requests that wait for runtimes at once"),
];
