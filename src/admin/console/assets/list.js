// Lists with filters and pages.

import { card, field, h, row, table, values } from "./dom.js";

const TYPED_MS = 250;

/**
 * A list under a heading. `load(filter, after)` returns `{ items, next, note }`, `cells(item)` a row's
 * cells. `filters` are fields; `every` is how often it is loaded anew, in milliseconds.
 */
export function list({ title, actions = () => [], filters = [], hint, columns, load, cells, empty, every }) {
    const heading = h("span", null, title);
    const body = h("div");
    const note = h("p", { class: "hint", role: "status" });
    const more = h("button", { type: "button", hidden: true, onclick: () => append() }, "More");
    const state = { filter: {}, items: [], next: undefined, pages: 1, turn: 0 };
    const beside = h("div", { class: "row" });
    const form = filters.length === 0 ? null : h("form", {
        class: "filters", role: "search", "aria-label": title,
        onsubmit: (event) => { event.preventDefault(); reload(); },
        oninput: () => { clearTimeout(typed); typed = setTimeout(reload, TYPED_MS); },
    }, filters.map(field));
    let typed = 0;
    let timer = 0;

    const draw = () => {
        const kept = document.activeElement?.closest?.("[data-key]")?.dataset.key;
        const label = document.activeElement?.textContent;
        const rows = state.items.map((item) => cells(item));
        const drawn = table(title, columns, []);
        rows.forEach((line, place) => {
            const made = row(columns, line);
            made.dataset.key = state.items[place].id ?? state.items[place].name ?? place;
            drawn.querySelector("tbody").append(made);
        });
        body.replaceChildren(state.items.length > 0 ? drawn : h("p", { class: "hint" }, empty));
        more.hidden = state.next === undefined;
        beside.replaceChildren(...actions(state));
        if (kept !== undefined) {
            const same = [...body.querySelectorAll("[data-key]")].find((line) => line.dataset.key === kept);
            [...(same?.querySelectorAll("button, a") ?? [])].find((control) => control.textContent === label)?.focus();
        }
    };

    const take = async (pages) => {
        const mine = state.turn += 1;
        const found = { items: [], next: undefined, total: undefined, note: "" };
        try {
            for (let page = 0; page < pages && (page === 0 || found.next !== undefined); page += 1) {
                const { items, ...rest } = await load(state.filter, found.next);
                found.items.push(...items);
                Object.assign(found, { next: undefined }, rest);
            }
        } catch (error) {
            if (mine === state.turn) note.textContent = error.message;
            return;
        }
        if (mine !== state.turn) return;
        Object.assign(state, found, { pages });
        note.textContent = found.note ?? "";
        draw();
    };
    const append = () => take(state.pages + 1);
    const reload = () => {
        state.filter = form ? values(form) : {};
        return take(1);
    };
    const again = () => take(state.pages);

    if (every) {
        timer = setInterval(() => { if (document.visibilityState === "visible") again(); }, every);
    }
    const element = card(heading, beside, hint ? h("p", { class: "hint" }, hint) : null, form, note, body, more);
    return { element, reload, again, state, stop: () => { clearInterval(timer); clearTimeout(typed); state.turn += 1; } };
}
