// The real Chromium with a profile of its own, for a script that returns what is to be printed as JSON.
const { readFileSync } = require("node:fs");
const { chromium } = require(`${process.cwd()}/node_modules/playwright-core`);

const ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
    // Names that are not loopback to the browser.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
];

exports.launch = async (conduct) => {
    const executablePath = "/usr/bin/chromium";
    const context = await chromium.launchPersistentContext("", { executablePath, args: ARGUMENTS });
    context.setDefaultTimeout(40_000);
    try {
        console.log(JSON.stringify(await conduct(context)));
    } catch (error) {
        console.error(error);
        process.exitCode = 1;
    } finally {
        await context.close();
    }
    // What a script that failed has left open must not keep it.
    process.exit();
};

// Takes pictures into a folder, if there is one.
exports.camera = (folder) => async (page, name, options = {}) => {
    if (folder) await page.screenshot({ path: `${folder}/${name}.png`, ...options });
};

// What axe-core finds serious in a page as it is now, each as one line.
exports.faults = async (page) => {
    // Not by a script element: the page's policy would not have it.
    await page.evaluate(readFileSync(`${process.cwd()}/node_modules/axe-core/axe.min.js`, "utf8"));
    const found = await page.evaluate(() => axe.run(document));
    const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    if (found.passes.length < 5) throw new Error("axe-core looked at nothing");
    return serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
};

// Whether the page is wider than its window.
exports.overflow = (page) =>
    page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

// What a page complains of on its console.
exports.complaints = (page) => {
    const complaints = [];
    page.on("console", (said) => {
        if (said.type() === "error") complaints.push(said.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    return complaints;
};
