// The portal, alive: copying, and a WebSocket with an access token. Without it the page's forms do the rest.
"use strict";

const LOG_LINES_MAX = 200;
const LINE_CHARACTERS_MAX = 2000;
const element = (id) => document.getElementById(id);

for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
        const source = element(button.dataset.copy);
        await navigator.clipboard.writeText(source.value ?? source.textContent);
        const label = button.getAttribute("aria-label");
        button.textContent = "Copied";
        button.removeAttribute("aria-label");
        setTimeout(() => {
            button.textContent = "Copy";
            button.setAttribute("aria-label", label);
        }, 2000);
    });
}

// To load the answer to a form again must not send the form again.
if (location.pathname !== "/portal") history.replaceState(null, "", "/portal");

const log = element("tester-log");
const application = element("tester-application");
const connect = element("tester-connect");
const sendButton = element("tester-send").querySelector("button");
let socket = null;

const write = (text) => {
    const lines = log.textContent.split("\n").filter(Boolean);
    lines.push(text.length > LINE_CHARACTERS_MAX ? `${text.slice(0, LINE_CHARACTERS_MAX)}…` : text);
    log.textContent = lines.slice(-LOG_LINES_MAX).join("\n");
    log.scrollTop = log.scrollHeight;
};

const fetchToken = async () => {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    const path = `/profile/applications/${encodeURIComponent(application.value)}/token`;
    const answer = await fetch(path, { method: "POST", headers, body: "{}" });
    // The session is over: what is shown is nobody's to see any more.
    if (answer.status === 401) location.assign("/portal");
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.detail || "It did not work.");
    return said.access_token;
};

// What an end means; nothing of its own once the socket is open.
let ending = null;

const open = async (path) => {
    const token = await fetchToken();
    const base = location.origin.replace(/^http/, "ws");
    socket = new WebSocket(`${base}${path}`, ["flowgate", `flowgate.bearer.${token}`]);
    connect.textContent = "Cancel";
    ending = "refused: is the application subscribed to it?";
    socket.addEventListener("open", () => {
        ending = null;
        write(`open: ${path}`);
        connect.textContent = "Disconnect";
        sendButton.disabled = false;
    });
    socket.addEventListener("message", (event) => {
        const { data } = event;
        write(`< ${typeof data === "string" ? data : `${data.size} bytes`}`);
    });
    socket.addEventListener("close", (event) => {
        write(ending ?? `closed: ${event.code} ${event.reason}`);
        socket = null;
        connect.textContent = "Connect";
        sendButton.disabled = true;
    });
};

element("tester").hidden = application.options.length === 0;
element("tester-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (socket) {
        if (ending) ending = "cancelled";
        socket.close(1000);
        return;
    }
    try {
        await open(element("tester-path").value);
    } catch (error) {
        write(`refused: ${error.message}`);
    }
});
element("tester-send").addEventListener("submit", (event) => {
    event.preventDefault();
    const { value } = element("tester-text");
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    socket.send(value);
    write(`> ${value}`);
});
