// The profile page, alive: copying, live connections, a WebSocket tester. Without it the page's forms do the same.
"use strict";

const REFRESH_MS = 3000;
const REDRAW_MS = 30000;
// A page that nobody uses must not keep its session alive.
const UNUSED_MS_MAX = 15 * 60 * 1000;
const LOG_LINES_MAX = 200;
const LINE_CHARACTERS_MAX = 2000;
const element = (id) => document.getElementById(id);

const say = (text, isBad) => {
    const notice = document.createElement("p");
    notice.className = `notice ${isBad ? "bad" : "good"}`;
    notice.setAttribute("role", isBad ? "alert" : "status");
    notice.textContent = text;
    element("said").replaceChildren(notice);
};

const ask = async (method, path, body) => {
    const options = { method, headers: { Accept: "application/json" } };
    if (body) {
        options.headers["Content-Type"] = "application/json";
        options.body = JSON.stringify(body);
    }
    const answer = await fetch(path, options);
    // The session is over: what is shown is nobody's to see any more.
    if (answer.status === 401) location.assign("/profile");
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.detail || "It did not work.");
    return said;
};

// --- Copy ---------------------------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
        const source = element(button.dataset.copy);
        await navigator.clipboard.writeText(source.value ?? source.textContent);
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 2000);
    });
}

// --- Live connections ---------------------------------------------------------------------------------------------

const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB"];
    let unit = 0;
    while (bytes >= 1024 && unit < units.length - 1) {
        bytes = Math.floor(bytes / 1024);
        unit += 1;
    }
    return `${bytes} ${units[unit]}`;
};

const grouped = (number) => number.toLocaleString("en-US");

const distance = (moment) => {
    const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(moment)) / 1000));
    if (seconds < 60) return "just now";
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
};

const credential = (it) => {
    if (it.key_name) return `key ${it.key_name}`;
    return { "key:default": "default key", anonymous: "none (public)" }[it.grant] ?? it.grant;
};

const cell = (label, text) => {
    const made = document.createElement("td");
    made.dataset.label = label;
    made.textContent = text;
    return made;
};

const makeRow = (it) => {
    const row = document.createElement("tr");
    row.dataset.id = it.id;
    const path = document.createElement("th");
    path.scope = "row";
    path.append(document.createElement("code"));
    const actions = document.createElement("td");
    actions.className = "actions";
    row.append(path, ...["Credential", "Since", "Messages", "Bytes", "Peer"].map((label) => cell(label, "")), actions);
    path.firstChild.textContent = it.path;
    if (it.kind === "exchange") {
        const kind = document.createElement("small");
        kind.textContent = "plain request";
        path.append(" ", kind);
    }
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Close";
    button.setAttribute("aria-label", `Close the connection to ${it.path} from ${it.client}`);
    actions.append(button);
    return row;
};

const fillRow = (row, it) => {
    const texts = [
        credential(it),
        distance(it.since),
        `${grouped(it.messages_from_client)} in, ${grouped(it.messages_from_runtime)} out`,
        `${size(it.bytes_from_client)} in, ${size(it.bytes_from_runtime)} out`,
        it.client,
    ];
    texts.forEach((text, place) => {
        const cell = row.children[place + 1];
        if (cell.textContent !== text) cell.textContent = text;
    });
};

const table = element("connections");

const showConnections = (said) => {
    const body = table.tBodies[0];
    const known = new Map([...body.rows].map((row) => [row.dataset.id, row]));
    const newest = said.connections.filter((it) => !it.closing).reverse().slice(0, 200);
    newest.forEach((it, place) => {
        const row = known.get(it.id) ?? makeRow(it);
        known.delete(it.id);
        fillRow(row, it);
        // Moved only where it must be, so that the keyboard's place is kept.
        if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
    });
    for (const gone of known.values()) gone.remove();
    element("nothing-live").hidden = newest.length > 0;
    element("incomplete").replaceChildren(...said.incomplete.map((what) => {
        const gap = document.createElement("p");
        gap.className = "notice bad";
        gap.textContent = `Not all is known: ${what}.`;
        return gap;
    }));
    const live = said.total - said.connections.filter((it) => it.kind === "exchange").length;
    element("live").textContent = live;
    if (element("use")) element("use").value = live;
    warn(said);
};

// What a button would end, as it is now: the page may have been open for long.
const warn = (said) => {
    const isAll = said.incomplete.length === 0 && said.connections.length >= said.total;
    for (const place of document.querySelectorAll("[data-closes]")) {
        const count = said.connections.filter((it) => !it.closing && it.grant === place.dataset.closes).length;
        place.dataset.live = count;
        place.textContent = closes(count, isAll);
    }
};

const closes = (count, isAll) => {
    if (count === 0) return isAll ? "Nothing is connected with it now." : "Whether anything is connected with it is not known.";
    const some = count === 1 ? "one live connection" : `${count} live connections`;
    const text = `${isAll ? "" : "at least "}${some} will close.`;
    return text[0].toUpperCase() + text.slice(1);
};

const refresh = async () => {
    try {
        showConnections(await ask("GET", "/profile/connections"));
    } catch {
        // The next one may work; what is shown stays.
    }
};

const closeConnection = async (row) => {
    try {
        await ask("DELETE", `/profile/connections/${encodeURIComponent(row.dataset.id)}`);
        say("The connection was closed.", false);
    } catch (error) {
        say(error.message, true);
    }
    await refresh();
};

table.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    event.preventDefault();
    button.disabled = true;
    closeConnection(button.closest("tr"));
});

let usedAt = Date.now();
for (const kind of ["pointerdown", "pointermove", "keydown", "focus"]) {
    addEventListener(kind, () => (usedAt = Date.now()), { passive: true });
}
const isWatched = () => !document.hidden && Date.now() - usedAt < UNUSED_MS_MAX;

setInterval(() => {
    if (isWatched()) refresh();
}, REFRESH_MS);

// --- What the server draws ------------------------------------------------------------------------------------------

const redraw = async () => {
    const answer = await fetch("/profile", { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const drawn = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const section of document.querySelectorAll("[data-fresh]")) {
        const fresh = drawn.getElementById(section.id);
        if (fresh && !section.contains(document.activeElement)) section.replaceWith(document.importNode(fresh, true));
    }
};

setInterval(() => {
    if (isWatched()) redraw().catch(() => {});
}, REDRAW_MS);

// To load the answer to a form again must not send the form again.
if (location.pathname !== "/profile") history.replaceState(null, "", "/profile");

// --- The tester ---------------------------------------------------------------------------------------------------

const log = element("tester-log");
const connect = element("tester-connect");
const sendButton = element("tester-send").querySelector("button");
let socket = null;

const write = (text) => {
    const lines = log.textContent.split("\n").filter(Boolean);
    lines.push(text.length > LINE_CHARACTERS_MAX ? `${text.slice(0, LINE_CHARACTERS_MAX)}…` : text);
    log.textContent = lines.slice(-LOG_LINES_MAX).join("\n");
    log.scrollTop = log.scrollHeight;
};

// A page is not told why; the server tells the account's owner.
const REFUSED = "refused: see “Refused lately”";
// What an end means; nothing of its own once the socket is open.
let ending = null;

const ended = (event) => {
    write(ending ?? `closed: ${event.code} ${event.reason}`);
    if (ending === REFUSED) redraw().catch(() => {});
    socket = null;
    connect.textContent = "Connect";
    sendButton.disabled = true;
};

const open = async (path) => {
    const { ticket } = await ask("POST", "/profile/tickets", { path });
    const base = location.origin.replace(/^http/, "ws");
    socket = new WebSocket(`${base}${path}?ticket=${encodeURIComponent(ticket)}`);
    connect.textContent = "Cancel";
    ending = REFUSED;
    socket.addEventListener("open", () => {
        ending = null;
        write(`open: ${path}`);
        connect.textContent = "Disconnect";
        sendButton.disabled = false;
        refresh();
    });
    socket.addEventListener("message", (event) => {
        const { data } = event;
        write(`< ${typeof data === "string" ? data : `${data.size} bytes`}`);
    });
    socket.addEventListener("close", ended);
};

element("tester").hidden = false;
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
