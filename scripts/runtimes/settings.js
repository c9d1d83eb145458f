// Node-RED settings for a runtime behind flowgate. Used by the quickstart and the tests; made to be copied.
//
// One runtime per tenant, each started with its own port, name and user directory:
//
//   PORT=1881 RUNTIME_NAME=mike node-red --settings settings.js --userDir /srv/runtimes/mike
//
// PORT                the port to listen on; 0 picks a free one and the log names it
// RUNTIME_NAME        flows see it as env.get("RUNTIME_NAME"); the sample flows put it into every answer
// CREDENTIAL_SECRET   encrypts what nodes store as credentials

module.exports = {
    // --- What flowgate needs -------------------------------------------------------------------------------------

    // Loopback only. A runtime trusts whoever reaches it, because flowgate is its guard: never let others connect
    // past flowgate. In a container use "0.0.0.0", on a network that only flowgate can reach.
    uiHost: "127.0.0.1",
    uiPort: Number(process.env.PORT || 1880),

    // The endpoints of the flows (HTTP-in and websocket nodes) live below this path; it is the tenant's `node_root`.
    // With "/api" a private path is the same on both sides of flowgate: /api/thing stays /api/thing.
    httpNodeRoot: "/api",

    // The editor and its admin API; it is the tenant's `admin_root`. It must be neither "/" nor contain httpNodeRoot:
    // only then can flowgate keep every other row away from the editor. `false` is a runtime without editor
    // (`admin_root` is then null).
    httpAdminRoot: "/red",

    // No adminAuth, httpNodeAuth or webSocketNodeVerifyClient here: flowgate has authenticated the caller already, and
    // these would ask for an `Authorization` header of their own, the one that flowgate consumes.

    // Flows read the client's address and scheme as msg.req.ip and msg.req.protocol. Believe X-Forwarded-For and
    // X-Forwarded-Proto when they come from flowgate on this machine. Elsewhere name flowgate's address or network.
    httpServerOptions: { "trust proxy": "loopback" },

    // How long a handshake stays open for which no websocket node has the path; Node-RED then cuts it without an
    // answer. Keep it below the time that flowgate waits for a runtime's handshake.
    inboundWebSocketTimeout: 5000,

    // JSON and form bodies above this are refused by Node-RED itself with 413.
    apiMaxLength: "5mb",

    // --- Where the tenant's things are ---------------------------------------------------------------------------

    // Relative to --userDir, so every runtime has flows of its own and this file serves all of them. What a tenant
    // deploys in the editor is written there.
    flowFile: "flows.json",
    flowFilePretty: true,

    // In production give every runtime its own secret and keep it: with another one, credentials stored before
    // cannot be read any more.
    credentialSecret: process.env.CREDENTIAL_SECRET || "only for samples and tests",

    // --- Quiet: nothing goes out that the tenant's flows did not ask for -----------------------------------------

    // No usage data, no look for newer versions, no welcome tour.
    telemetry: { enabled: false, updateNotification: false },
    editorTheme: {
        tours: false,
        // No catalogue of nodes is loaded from the network.
        palette: { catalogues: [] },
        projects: { enabled: false },
    },

    // Tenants cannot install packages from the editor or from Function nodes. Whoever may, runs any code in the
    // runtime; allow it only where each runtime is contained (its own container, user or machine).
    externalModules: {
        autoInstall: false,
        palette: { allowInstall: false, allowUpdate: false, allowUpload: false },
        modules: { allowInstall: false },
    },
    functionExternalModules: false,

    // The diagnostics report tells about the machine: paths, versions, addresses.
    diagnostics: { enabled: false, ui: false },

    // To standard output, for whatever collects the logs of runtimes.
    logging: { console: { level: "info", metrics: false, audit: false } },
};
