// An operator uses the console: by keyboard where it says so, wide and narrow. Prints what was seen.
const { launch } = require(process.argv[1]);
const [, , adminPort, dataPort, adminToken, readToken, key, pictures] = process.argv;
const WebSocket = require("ws");
const axe = require("fs").readFileSync(`${process.cwd()}/node_modules/axe-core/axe.min.js`, "utf8");

const HOME = `http://127.0.0.1:${adminPort}`;
const PAGES = ["", "tenants", "tenants/mike", "connections", "plans", "sessions", "audit", "server"];

const sockets = [];

function connect(apikey) {
    const socket = new WebSocket(`ws://127.0.0.1:${dataPort}/api/thing`, { headers: { apikey } });
    sockets.push(socket);
    return socket;
}

/** A client that talks some times a second; `closed` is its end. */
function client() {
    const socket = connect(key);
    const closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve([code, String(reason)])));
    const opened = new Promise((resolve, reject) => {
        socket.on("open", resolve);
        socket.on("error", reject);
    });
    socket.on("message", () => setTimeout(() => socket.readyState === WebSocket.OPEN && socket.send("again"), 20));
    return { socket, closed, opened: opened.then(() => socket.send("first")) };
}

launch(async (context) => {
    const page = await context.newPage();
    await page.setViewportSize({ width: 1280, height: 900 });
    let complaints = [];
    const foreign = [];
    page.on("console", (said) => { if (["error", "warning"].includes(said.type())) complaints.push(said.text()); });
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => { if (new URL(request.url()).host !== `127.0.0.1:${adminPort}`) foreign.push(request.url()); });
    const picture = (name, options) => (pictures ? page.screenshot({ path: `${pictures}/${name}.png`, ...options }) : null);
    const heading = (name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
    const button = (name, within = page) => within.getByRole("button", { name, exact: true });
    const dialog = page.locator("dialog");
    const notice = () => page.locator("#alert").innerText();
    const focused = () => page.evaluate(() => {
        const { activeElement: it } = document;
        return it.getAttribute("aria-label") ?? (it.labels?.[0]?.textContent || it.textContent);
    });
    /** Goes on with Tab until what has the focus is called so, as somebody without a mouse would. */
    const tabTo = async (name) => {
        for (let step = 0; step < 120; step += 1) {
            await page.keyboard.press("Tab");
            if ((await focused()).trim() === name) return;
        }
        throw new Error(`no way to ${name} by keyboard; at last: ${await focused()}`);
    };
    const press = async (name) => {
        await tabTo(name);
        await page.keyboard.press("Enter");
    };

    // By keyboard alone, up to where the pictures begin.
    await page.goto(HOME);
    const at = page.url();
    await page.getByLabel("Admin token").waitFor();
    await page.keyboard.type("nobodys-token-0123456789-0123456789");
    await page.keyboard.press("Enter");
    await page.getByText("An admin token is needed").waitFor();
    const early = complaints;
    complaints = [];
    await page.keyboard.press("Control+A");
    await page.keyboard.type(adminToken);
    await page.keyboard.press("Enter");
    await heading("Overview");
    const who = await page.locator("#who").innerText();

    const [pump, valve] = [client(), client()];
    await Promise.all([pump.opened, valve.opened]);
    const refused = await fetch(`http://127.0.0.1:${dataPort}/api/private`, { headers: { apikey: "nobodys-key" } });
    await page.locator(".pulse[data-state=live]").waitFor();
    await page.getByRole("img", { name: /^Messages per second: from clients [1-9]/ }).waitFor();
    await page.getByRole("img", { name: "Live connections: connections 2" }).waitFor();
    await page.getByRole("region", { name: "Refusals" }).getByText("/api/private").waitFor();
    await page.locator(".chip", { hasText: "wrong_credential" }).waitFor();
    // Some lines for the picture, and time enough to see that they go on.
    const pointsMin = pictures ? 45 : 8;
    await page.waitForFunction((min) => document.querySelector(".line").getAttribute("points").split(" ").length > min, pointsMin, { timeout: 90_000 });
    const points = await page.locator(".line").first().getAttribute("points");
    await page.waitForFunction((before) => document.querySelector(".line").getAttribute("points") !== before, points);
    const replicas = await page.locator("section", { hasText: "Replicas" }).last().innerText();
    await picture("console-overview", { fullPage: true });
    await page.setViewportSize({ width: 390, height: 844 });
    await page.emulateMedia({ colorScheme: "dark" });
    await picture("console-narrow");
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.emulateMedia({ colorScheme: "light" });

    await press("Tenants");
    await heading("Tenants");
    // What is to go has to be there first.
    await page.getByRole("link", { name: "roberto" }).waitFor();
    await tabTo("Name begins with");
    await page.keyboard.type("mi");
    await page.getByRole("link", { name: "roberto" }).waitFor({ state: "detached" });
    const listed = await page.locator("tbody tr").allInnerTexts();
    await press("mike");
    await heading("mike");
    await page.locator("td", { hasText: "default key" }).first().waitFor();
    await picture("console-tenant", { fullPage: true });
    await press("Close…");
    const asked = await dialog.innerText();
    await picture("console-close");
    const safe = await focused();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    const back = await focused();
    await page.keyboard.press("Enter");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    const closedOne = await Promise.race([pump.closed, valve.closed]);
    await dialog.waitFor({ state: "detached" });

    // With the mouse: keys.
    const last = pump.socket.readyState === WebSocket.OPEN ? pump : valve;
    await button("New key…").click();
    await dialog.getByLabel("Name").fill("<b>pump</b>");
    await dialog.getByLabel("Expires after days").fill("30");
    await dialog.getByLabel("Paths it opens").fill("/thing /a/b");
    await button("Make the key").click();
    const secret = await dialog.getByLabel("The new secret").inputValue();
    await button("Close", dialog).click();
    await page.getByText("The new key was made.").waitFor();
    const named = await page.locator("tr", { hasText: "pump" }).first().innerText();
    const told = (await page.content()).includes(secret);
    await button("Rotate <b>pump</b>").click();
    await button("Rotate the key").click();
    const rotated = await dialog.getByLabel("The new secret").inputValue();
    await button("Close", dialog).click();
    await button("Revoke <b>pump</b>").click();
    await button("Revoke the key").click();
    await page.getByText("The key is gone.").waitFor();
    await button("Regenerate the default key").click();
    const warned = await dialog.innerText();
    await button("Regenerate it").click();
    const fresh = await dialog.getByLabel("The new secret").inputValue();
    const closedByKey = await last.closed;
    await button("Close", dialog).click();

    // Explain; what was refused before is there.
    await page.getByLabel("URL").fill(`http://127.0.0.1:${dataPort}/api/thing`);
    await page.getByLabel("Headers").fill(`apikey: ${fresh}`);
    await button("Explain").click();
    await page.locator(".chip", { hasText: "accepted" }).waitFor();

    // Settings, and a revision that is not the last any more.
    await button("Change…").click();
    await dialog.getByLabel("Allowed origins").fill("https://dashboard.example.org");
    await button("Save the settings").click();
    await page.getByText("The settings are saved.").waitFor();
    const settings = await page.locator("section", { hasText: "State and settings" }).innerText();
    const before = complaints;
    complaints = [];
    await button("As JSON…").click();
    await dialog.getByLabel("As in a profiles file").fill("{}");
    await button("Save the settings").click();
    await dialog.getByRole("alert").waitFor();
    const wrong = await dialog.getByRole("alert").innerText();
    await button("Cancel").click();
    const expected = complaints;
    complaints = before;

    // Plans, and a tenant from the beginning to the end.
    await page.getByRole("link", { name: "Plans", exact: true }).click();
    await button("New plan…").click();
    await dialog.getByLabel("Name").fill("small");
    await dialog.getByLabel("Live connections at once").fill("10");
    await dialog.getByLabel("Messages per second").fill("100");
    await button("Create the plan").click();
    await page.getByText("The plan small is saved.").waitFor();
    await page.getByRole("link", { name: "Tenants", exact: true }).first().click();
    await button("New tenant…").click();
    await dialog.getByLabel("Username").fill("zoe");
    await dialog.getByLabel("Plan").selectOption("small");
    await dialog.getByLabel("Runtime's address").fill("http://127.0.0.1:1");
    await dialog.getByLabel("Password").fill("a password of zoe's");
    await button("Create the tenant").click();
    const zoes = await dialog.getByLabel("The new secret").inputValue();
    await button("Close", dialog).click();
    await heading("zoe");
    await button("Disable…").click();
    await button("Disable the tenant").click();
    await page.getByText("zoe is disabled.").waitFor();
    await page.getByRole("link", { name: "All tenants" }).click();
    await heading("Tenants");
    await page.getByRole("link", { name: "mike" }).waitFor();
    await page.getByLabel("State", { exact: true }).selectOption("true");
    await page.getByRole("link", { name: "mike" }).waitFor({ state: "detached" });
    const disabled = await page.locator("tbody tr").allInnerTexts();
    await page.getByRole("link", { name: "zoe" }).click();
    await button("Enable…").click();
    await button("Enable the tenant").click();
    await page.getByText("zoe is enabled.").waitFor();
    await button("Remove…").click();
    await dialog.getByLabel("Type zoe to go on").fill("mike");
    await button("Remove the tenant").click();
    const mistaken = await dialog.getByRole("alert").innerText();
    await dialog.getByLabel("Type zoe to go on").fill("zoe");
    await button("Remove the tenant").click();
    await page.getByText("zoe is removed.").waitFor();

    // By filter.
    const valves = [0, 1].map(() => connect(fresh));
    const ends = valves.map((socket) => new Promise((resolve) => socket.on("close", resolve)));
    await Promise.all(valves.map((socket) => new Promise((resolve) => socket.on("open", resolve))));
    await page.getByRole("link", { name: "Connections", exact: true }).click();
    await page.getByLabel("Path and below").fill("/api");
    await button("Close all of these…").click();
    const many = await dialog.innerText();
    await dialog.getByRole("button", { name: /^Close 2 / }).click();
    const closedByFilter = await Promise.all(ends);
    await page.getByText(/connections were closed/).waitFor();
    const saidOfThem = await notice();

    // Profiles, out and in.
    await page.getByRole("link", { name: "Server", exact: true }).click();
    await button("Export…").click();
    const [download] = await Promise.all([page.waitForEvent("download"), button("Export").click()]);
    const file = JSON.parse(require("fs").readFileSync(await download.path(), "utf8"));
    await button("Import…").click();
    await dialog.getByLabel("Profiles file").setInputFiles(await download.path());
    await button("Import").click();
    await page.getByText("left alone").first().waitFor();
    const imported = await notice();

    // Every page: accessible, in light and dark, and as narrow as a telephone.
    const violations = [];
    const overflow = {};
    const look = async (name) => {
        // Not the page's policy decides about this: it comes over the browser's own protocol.
        await page.evaluate(axe);
        const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
        for (const { id, impact, nodes } of found.violations) {
            if (["serious", "critical"].includes(impact)) violations.push(`${name}: ${id}: ${nodes.map((node) => node.html).join(" ")}`);
        }
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (over > 0) overflow[name] = over;
    };
    for (const [width, height] of [[1280, 900], [390, 844]]) {
        await page.setViewportSize({ width, height });
        for (const path of PAGES) {
            await page.goto(`${HOME}/console/#/${path}`);
            await page.locator("section.card :is(tbody tr, dl, p.hint:not(:empty))").first().waitFor();
            for (const colorScheme of ["light", "dark"]) {
                await page.emulateMedia({ colorScheme });
                const name = `${path.split("/").at(-1) || "overview"}-${width}-${colorScheme}`;
                await look(name);
                if (process.env.FLOWGATE_LOOK) await page.screenshot({ path: `${process.env.FLOWGATE_LOOK}/${name}.png`, fullPage: true });
            }
        }
        await page.goto(`${HOME}/admin/docs`);
        for (const colorScheme of ["light", "dark"]) {
            await page.emulateMedia({ colorScheme });
            await look(`docs-${width}-${colorScheme}`);
        }
        await page.goto(`${HOME}/console/#/tenants/mike`);
        await button("Change…").click();
        await look(`dialog-${width}`);
        if (process.env.FLOWGATE_LOOK) await page.screenshot({ path: `${process.env.FLOWGATE_LOOK}/dialog-${width}.png` });
        await page.keyboard.press("Escape");
        await page.emulateMedia({ colorScheme: "light" });
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.goto(`${HOME}/console/#/audit`);
    await page.locator("tbody tr").first().waitFor();
    const audit = await page.locator("tbody").innerText();
    const stored = await page.evaluate(() => [document.cookie, localStorage.length, Object.keys(sessionStorage)]);

    // Somebody who may only look.
    await button("Forget token").click();
    const left = await page.evaluate(() => sessionStorage.length);
    await page.getByLabel("Admin token").fill(readToken);
    await page.keyboard.press("Enter");
    await page.goto(`${HOME}/console/#/tenants/mike`);
    await button("Remove…").waitFor();
    const greyed = await page.evaluate(() => [...document.querySelectorAll("#main button:disabled")].map((it) => `${it.textContent}: ${it.title}`));
    await look("reader");
    const quiet = complaints;

    // The feed ends with the server.
    await button("Forget token").click();
    await page.getByLabel("Admin token").fill(adminToken);
    await page.keyboard.press("Enter");
    await page.locator(".pulse[data-state=live]").waitFor();
    await page.getByRole("link", { name: "Server", exact: true }).click();
    await button("Drain and stop…").click();
    await button("Drain and stop").click();
    await page.locator(".pulse[data-state=lost]").waitFor();

    return {
        at, who, early, refused: refused.status, replicas, listed, asked, safe, back, closedOne, secret, named, told, rotated, warned,
        closedByKey, settings, wrong, expected, zoes, disabled, mistaken, many, closedByFilter, saidOfThem, exported: file.tenants.map(({ username }) => username),
        imported, violations, overflow, audit, stored, left, greyed, complaints: quiet, foreign, cookies: await context.cookies(),
    };
}).finally(() => {
    // Else they would keep a failed script from its end.
    for (const socket of sockets) socket.terminate();
});
