// A small runtime: echoes messages, and does what its first argument says; `as-named` is what its name
// begins with. Started by the provider
// `process`, in its working folder.

const fs = require("fs");
const net = require("net");
const os = require("os");
const http = require("http");
const { spawn } = require("child_process");
const { WebSocketServer } = require(process.argv[3]);

const named = process.env.RUNTIME_NAME.split("-")[0];
const conduct = process.argv[2] === "as-named" ? named : process.argv[2];
fs.appendFileSync("starts", `${process.pid}\n`);
console.log(`started as ${conduct}`);
fs.writeFileSync("environment.json", JSON.stringify(process.env));

const attempt = (what) => {
    try {
        return what();
    } catch (error) {
        return error.code;
    }
};
// What a tenant may try on others.
const acts = {
    reach: (asked, say) => {
        const socket = net.connect({ host: asked.get("host"), port: Number(asked.get("port")) });
        socket.on("connect", () => say("open")).on("error", (error) => say(error.code));
    },
    read: (asked, say) => say(attempt(() => fs.readdirSync(asked.get("path")))),
    open: (asked, say) => say(attempt(() => fs.readFileSync(asked.get("path"), "utf8"))),
    signal: (asked, say) => say(attempt(() => process.kill(Number(asked.get("pid")), 0))),
    files: (asked, say) => {
        const open = fs.readdirSync("/proc/self/fd");
        say(open.map((file) => attempt(() => fs.readlinkSync(`/proc/self/fd/${file}`))));
    },
    eat: (asked, say) => {
        const eaten = [];
        for (let left = Number(asked.get("bytes")); left > 0; left -= 1 << 24) {
            eaten.push(Buffer.alloc(1 << 24, 1));
        }
        say("eaten");
    },
    // Never answered.
    hold: () => {},
    addresses: (asked, say) => say(Object.values(os.networkInterfaces()).flat().map((it) => it.address)),
    breed: (asked, say) => {
        const one = () =>
            new Promise((done) => {
                const child = spawn("sleep", ["1000"], { stdio: "ignore", detached: true });
                child.on("spawn", () => done("ok")).on("error", (error) => done(error.code));
            });
        const all = Array.from({ length: Number(asked.get("count")) }, one);
        Promise.all(all).then((said) => say([...new Set(said)].sort()));
    },
};

if (conduct === "dies") {
    console.log("\u001b[31mno flows\u0007");
    process.exit(3);
}
if (conduct === "stubborn") {
    process.on("SIGTERM", () => console.log("never"));
}
if (conduct === "breeds") {
    // In a session of its own.
    const child = spawn("sleep", ["1000"], { stdio: "ignore", detached: true });
    fs.writeFileSync("child", String(child.pid));
}
if (conduct === "mute") {
    setInterval(() => {}, 1000);
} else {
    const server = http.createServer((request, response) => {
        if (request.url.endsWith("/crash")) {
            console.log("crashing");
            process.exit(7);
        }
        const asked = new URL(request.url, "http://localhost");
        const act = acts[asked.pathname.split("/").pop()];
        if (act) {
            act(asked.searchParams, (said) => response.end(JSON.stringify(said)));
            return;
        }
        response.end(`${process.env.RUNTIME_NAME} ${request.url}\n`);
    });
    new WebSocketServer({ server }).on("connection", (socket) => {
        socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    const listen = () => server.listen(Number(process.env.PORT), process.env.LISTEN_HOST || "127.0.0.1", () => console.log("listening"));
    if (conduct === "gated") {
        const gate = setInterval(() => {
            if (!fs.existsSync("go")) return;
            clearInterval(gate);
            listen();
        }, 20);
    } else {
        listen();
    }
}
