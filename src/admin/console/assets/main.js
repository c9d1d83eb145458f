// The console: who is there, and which page is shown.

import { enter, forget, hasToken, may, onExpelled, operator } from "./api.js";
import { field, h, values } from "./dom.js";
import { feed, listen, start, stop } from "./feed.js";
import { connections } from "./connections.js";
import { closeDialogs } from "./dialogs.js";
import { audit, sessions } from "./others.js";
import { overview } from "./overview.js";
import { plans } from "./plans.js";
import { runtimes } from "./runtimes.js";
import { server } from "./server.js";
import { tenant } from "./tenant.js";
import { tenants } from "./tenants.js";

const PAGES = [
    ["", "Overview", overview],
    ["tenants", "Tenants", tenants],
    ["connections", "Connections", connections],
    ["runtimes", "Runtimes", runtimes],
    ["plans", "Plans", plans],
    ["sessions", "Sessions", sessions],
    ["audit", "Audit log", audit],
    ["server", "Server", server],
];

const main = document.getElementById("main");
const bar = document.getElementById("bar");
const nav = document.getElementById("nav");
let leave = () => {};

document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.querySelector("h1")?.focus();
});
document.getElementById("forget").addEventListener("click", () => {
    forget();
    login("The token is forgotten.", "good");
});
onExpelled((problem) => {
    forget();
    login(problem.message, "bad");
});
addEventListener("hashchange", () => { if (operator.role) route(); });
listen(() => pulse());

const STATES = { live: "live", lost: "no live data: trying again", off: "connecting" };

function pulse() {
    const mark = document.getElementById("pulse");
    if (mark.textContent === STATES[feed.state]) return;
    mark.textContent = STATES[feed.state];
    mark.dataset.state = feed.state;
}

function login(said, kind) {
    leave();
    leave = () => {};
    closeDialogs();
    stop();
    bar.hidden = true;
    document.title = "flowgate console";
    const alert = h("p", { class: `notice ${kind ?? "bad"}`, role: "alert", hidden: !said }, said ?? "");
    const onsubmit = async (event) => {
        event.preventDefault();
        try {
            await enter(values(event.target).token.trim());
            begin();
        } catch (error) {
            alert.textContent = error.message;
            alert.className = "notice bad";
            alert.hidden = false;
        }
    };
    main.className = "narrow";
    const token = field({ name: "token", label: "Admin token", type: "password", required: true, hint: "A line of admin_tokens_file; flowgate admin-token makes one. It is kept until this tab is closed." });
    const brand = h("div", { class: "brand" }, h("img", { src: "/console/icon.svg", alt: "", width: 24, height: 24 }), " flowgate");
    const form = h("form", { class: "card", onsubmit }, token, h("button", { type: "submit", class: "primary" }, "Open the console"));
    main.replaceChildren(brand, h("h1", { tabindex: -1 }, "Operator console"), alert, form);
    main.querySelector("input").focus();
}

function begin() {
    main.className = "wide";
    bar.hidden = false;
    document.getElementById("who").replaceChildren(h("b", null, operator.name), ` (${operator.role})`);
    nav.replaceChildren(...PAGES.map(([path, title]) => h("a", { href: `#/${path}` }, title)));
    pulse();
    start();
    route();
}

/** A part of the address, which somebody else may have made. */
function decoded(part) {
    try {
        return decodeURIComponent(part);
    } catch {
        return part;
    }
}

function route() {
    leave();
    closeDialogs();
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    const [first, ...rest] = path.split("/").map(decoded);
    const page = PAGES.find(([name]) => name === first);
    for (const link of nav.children) {
        const isHere = page && link.getAttribute("href") === `#/${page[0]}`;
        if (isHere) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
    }
    const name = first === "tenants" && rest[0] ? rest[0] : page?.[1] ?? "Nothing is here";
    const heading = h("h1", { tabindex: -1 }, name);
    const root = h("div", { class: "page" });
    const alert = h("div", { id: "alert" });
    const limits = may("admin") ? null : h("p", { class: "hint" }, `Your token has the role ${operator.role}: what needs more is greyed out.`);
    main.replaceChildren(heading, limits ?? "", alert, root);
    document.title = `${name} – flowgate console`;
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
    const show = first === "tenants" && rest[0] ? tenant : page?.[2] ?? (() => () => {});
    leave = show(root, { name: rest[0], query: Object.fromEntries(new URLSearchParams(query)), heading });
}

if (hasToken()) {
    enter(null).then(begin, (error) => login(error.message));
} else {
    login();
}
