// Elements, and how values are written. Data only ever becomes text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
    for (const [name, value] of Object.entries(properties ?? {})) {
        if (value === null || value === undefined || value === false) continue;
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (name === "value") element.value = value;
        else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}

/** An element with attributes, listeners (`onclick`) and children. */
export function h(name, properties, ...children) {
    return fill(document.createElement(name), properties, children);
}

/** The same of a drawing. */
export function svg(name, properties, ...children) {
    return fill(document.createElementNS(SVG, name), properties, children);
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const number = (value) => whole.format(value);

/** A rate: three digits are enough. */
export function rate(value) {
    return value >= 1000 ? whole.format(Math.round(value)) : short.format(value);
}

export function bytes(value) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let place = 0;
    while (value >= 1024 && place < units.length - 1) {
        value /= 1024;
        place += 1;
    }
    return `${short.format(place === 0 ? Math.round(value) : value)} ${units[place]}`;
}

export function duration(seconds) {
    const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const first = parts.findIndex(([length]) => seconds >= length);
    if (first < 0) return "0 s";
    return parts.slice(first, first + 2).map(([length, name], place) => {
        const rest = place === 0 ? seconds : seconds % parts[first][0];
        return [Math.floor(rest / length), name];
    }).filter(([count]) => count > 0).map(([count, name]) => `${count} ${name}`).join(" ");
}

/** A moment: how long ago, or until it; the whole of it as its title. */
export function moment(text) {
    if (!text) return "never";
    const seconds = (Date.now() - Date.parse(text)) / 1000;
    const said = seconds < 0 ? `in ${duration(-seconds)}` : seconds < 1 ? "now" : `${duration(seconds)} ago`;
    return h("time", { datetime: text, title: text }, said);
}

/** A moment as the clock showed it. */
export function clock(text) {
    return h("time", { datetime: text, title: text }, new Date(text).toLocaleTimeString("en-GB"));
}

export const count = (amount, one, many = `${one}s`) => `${amount === 1 ? "one" : number(amount)} ${amount === 1 ? one : many}`;

export function facts(pairs) {
    const known = pairs.filter((pair) => pair);
    return h("dl", { class: "facts" }, known.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** A table. A column is its name, or its name and whether it stands for the row. */
export function table(caption, columns, rows) {
    const head = columns.map((column) => h("th", { scope: "col" }, column || h("span", { class: "unseen" }, "Actions")));
    return h("div", { class: "scroll" }, h("table", null,
        h("caption", { class: "unseen" }, caption),
        h("thead", null, h("tr", null, head)),
        h("tbody", null, rows.map((cells) => row(columns, cells)))));
}

/** A row of it; the first cell names it. */
export function row(columns, cells) {
    return h("tr", null, cells.map((cell, place) => {
        if (place === 0) return h("th", { scope: "row" }, cell);
        const actions = columns[place] === "";
        return h("td", actions ? { class: "actions" } : { "data-label": columns[place] }, cell);
    }));
}

let cards = 0;

/** A part of a page under a heading; what stands beside the heading are its actions. */
export function card(title, actions, ...children) {
    const id = `card-${cards += 1}`;
    const head = h("div", { class: "head" }, h("h2", { id }, title), h("div", { class: "row" }, actions));
    return h("section", { class: "card", "aria-labelledby": id }, head, children);
}

let fields = 0;

/** A labelled control. `field` says what it is: see the forms. */
export function field({ name, label, type = "text", value = "", options, hint, required, rows: height, ...rest }) {
    const id = `field-${fields += 1}`;
    const common = { id, name, required, "aria-describedby": hint ? `${id}-hint` : null, ...rest };
    let control;
    if (options) {
        control = h("select", common, options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
    } else if (type === "area") {
        control = h("textarea", { ...common, rows: height ?? 4, spellcheck: "false", value });
    } else if (type === "checkbox") {
        control = h("input", { ...common, type, checked: Boolean(value) });
    } else {
        control = h("input", { ...common, type, autocomplete: type === "password" ? "new-password" : "off", spellcheck: "false", value });
    }
    const named = h("label", { for: id }, label);
    const hinted = hint ? h("span", { id: `${id}-hint`, class: "hint" }, hint) : null;
    return type === "checkbox"
        ? h("div", { class: "field check" }, control, named, hinted)
        : h("div", { class: "field" }, named, control, hinted);
}

/** What is in a form's controls. */
export function values(form) {
    const found = {};
    for (const control of form.elements) {
        if (!control.name) continue;
        if (control.type === "checkbox") found[control.name] = control.checked;
        else if (control.type === "file") found[control.name] = control.files[0];
        else found[control.name] = control.value;
    }
    return found;
}

/** The words or lines of a text. */
export const words = (text) => text.split(/\s+/).filter((word) => word);
