// A chart of the last two minutes: lines, drawn anew each second.

import { h, svg } from "./dom.js";

const POINTS = 120;
const WIDTH = 600;
const HEIGHT = 140;

/** `series` is pairs of a name and what a second has of it; `write` writes a value, in units of `base` to a power. */
export function chart(title, series, write, base = 10) {
    const lines = series.map((_, place) => svg("polyline", { class: `line line-${place}`, fill: "none", "vector-effect": "non-scaling-stroke" }));
    const grid = [0.25, 0.5, 0.75].map((part) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part, "vector-effect": "non-scaling-stroke" }));
    const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title }, grid, lines);
    const top = h("span", { class: "hint top" }, "");
    const shown = series.map(() => h("b", null, "–"));
    const legend = h("ul", { class: "legend" }, series.map(([name], place) => h("li", { class: `of-${place}` }, `${name} `, shown[place])));
    const element = h("figure", { class: "chart" }, h("figcaption", null, title), h("div", { class: "plot" }, drawing, top), legend);

    const draw = (seconds) => {
        const known = series.map(([, read]) => seconds.map(read));
        const highest = nice(Math.max(1, ...known.flat().filter((value) => value !== null)), base);
        known.forEach((values, place) => {
            const points = values.map((value, second) => [second, value]).filter(([, value]) => value !== null);
            const x = (second) => WIDTH - ((values.length - 1 - second) * WIDTH) / (POINTS - 1);
            const y = (value) => HEIGHT - 1 - (value / highest) * (HEIGHT - 4);
            lines[place].setAttribute("points", points.map(([second, value]) => `${x(second).toFixed(1)},${y(value).toFixed(1)}`).join(" "));
            const last = points.at(-1);
            shown[place].textContent = last ? write(last[1]) : "–";
        });
        top.textContent = write(highest);
        drawing.setAttribute("aria-label", `${title}: ${series.map(([name], place) => `${name} ${shown[place].textContent}`).join(", ")}`);
    };
    return { element, draw };
}

/** The next number that is round in its unit. */
function nice(value, base) {
    const unit = base ** Math.floor(Math.log(value) / Math.log(base) + 1e-9);
    const power = 10 ** Math.floor(Math.log10(value / unit) + 1e-9);
    return [1, 2, 5, 10, 20].map((factor) => factor * power * unit).find((round) => round >= value);
}
