// The sample runtimes' settings, for a container: Node-RED listens on its network, where flowgate alone reaches it.
const fs = require("fs");

const flows = "/data/flows.json";
if (!fs.existsSync(flows)) {
    fs.copyFileSync("/runtime/flows.json", flows);
}

module.exports = {
    ...require("/runtime/settings.js"),
    uiHost: "0.0.0.0",
    // What X-Forwarded-For and X-Forwarded-Proto say is believed where it comes from a private network.
    httpServerOptions: { "trust proxy": "uniquelocal" },
};
