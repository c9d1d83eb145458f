// The live feed: one WebSocket for the whole console. What was told lately is kept for the charts.

import { post } from "./api.js";

const KEPT_SECONDS = 120;
const PAUSE_MS = [1000, 2000, 5000, 10_000, 20_000];

/** What was told lately, the oldest first. */
export const seconds = [];
export const feed = { state: "off" };

const listeners = new Set();
let socket = null;
let timer = 0;
let failures = 0;
let turn = 0;

/** Calls `act` with what is told each second, and with nothing when the state changes. Returns how to stop that. */
export function listen(act) {
    listeners.add(act);
    return () => listeners.delete(act);
}

function say(second) {
    for (const act of listeners) act(second);
}

function become(state) {
    feed.state = state;
    say(null);
}

export function start() {
    stop();
    failures = 0;
    connect(turn);
}

export function stop() {
    turn += 1;
    clearTimeout(timer);
    socket?.close();
    socket = null;
    seconds.length = 0;
    feed.state = "off";
}

function later(mine) {
    if (mine !== turn) return;
    become("lost");
    const pause = PAUSE_MS[Math.min(failures, PAUSE_MS.length - 1)];
    failures += 1;
    timer = setTimeout(() => connect(mine), pause * (0.75 + Math.random() / 2));
}

async function connect(mine) {
    let ticket;
    try {
        ({ ticket } = await post("feed-tickets"));
    } catch {
        return later(mine);
    }
    if (mine !== turn) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/admin/v1/feed?ticket=${encodeURIComponent(ticket)}`);
    socket.onmessage = ({ data }) => {
        if (mine !== turn) return;
        const second = JSON.parse(data);
        failures = 0;
        seconds.push(second);
        seconds.splice(0, seconds.length - KEPT_SECONDS);
        if (feed.state !== "live") become("live");
        say(second);
    };
    socket.onclose = () => later(mine);
}

/** What passed in a second, by member; nothing if too little time went by to say. */
export function perSecond(second, member) {
    return second.elapsed_ms < 200 ? null : (second.passed[member] * 1000) / second.elapsed_ms;
}
