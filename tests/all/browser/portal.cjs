// roberto finds mike's API, signs up an application, subscribes, generates keys, gets a token, tries it; mike sees, blocks and
// lets through who is subscribed. Prints what was seen.
const { launch, camera, complaints: listen, faults, overflow } = require(process.argv[1]);
const [, , port, password, ownersPassword, pictures] = process.argv;
const WebSocket = require("ws");

launch(async (context) => {
    const page = await context.newPage();
    const complaints = listen(page);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const take = camera(pictures);
    const serious = [];
    const said = async (page) => (await page.locator("#said .notice > p").first().innerText()).trim();
    const press = (name, on = page) => on.getByRole("button", { name, exact: true }).click();

    await page.goto(`http://127.0.0.1:${port}/portal`);
    await page.getByLabel("Username").fill("roberto");
    await page.getByLabel("Password").fill(password);
    await press("Log in");
    await page.waitForURL("**/portal");
    const offers = await page.locator("#offers tbody tr").allInnerTexts();
    const before = await page.getByText("Subscribe…").count();
    serious.push(...(await faults(page)));

    await page.getByLabel("Name", { exact: true }).fill("Echo Client");
    await press("Sign up");
    await page.getByText("was signed up").waitFor();
    const signedUp = await said(page);
    await page.getByLabel("Name", { exact: true }).fill("Echo Client");
    await press("Sign up");
    await page.getByRole("alert").waitFor();
    const twice = await said(page);
    await page.getByLabel("Subscribe to EchoWebSocket at /echowebsocket/1.0.0").click();
    await page.getByLabel("Plan", { exact: true }).selectOption("Gold");
    await press("Subscribe");
    await page.getByText("is subscribed").waitFor();
    const subscribed = await page.locator("section.application tbody tr").allInnerTexts();
    await page.getByLabel("Another plan… for EchoWebSocket").click();
    await page.getByLabel("Plan", { exact: true }).last().selectOption("Bronze");
    await press("Change");
    await page.getByText("has the plan").waitFor();
    const changed = await page.locator("section.application tbody tr").allInnerTexts();
    await press("Generate keys");
    await page.getByLabel("Consumer secret", { exact: true }).waitFor();
    const keys = {
        key: await page.getByLabel("Consumer key", { exact: true }).inputValue(),
        secret: await page.getByLabel("Consumer secret", { exact: true }).inputValue(),
    };
    await page.getByRole("button", { name: "Copy: Consumer secret" }).click();
    await page.getByText("Copied", { exact: true }).waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    serious.push(...(await faults(page)));
    await take(page, "portal-keys", { fullPage: true });
    // Loading it again sends no form again, and shows no secret again.
    await page.reload();
    const again = { secrets: await page.getByLabel("Consumer secret", { exact: true }).count(), url: new URL(page.url()).pathname };

    await press("Get a token");
    const token = await page.getByLabel("Access token", { exact: true }).inputValue();
    const line = await page.locator("#line-1").innerText();
    // By hand and in the page; returns what came back, and what will be said at the end.
    const connect = async () => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/echowebsocket/1.0.0`, { headers: { Authorization: `Bearer ${token}` } });
        const closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve(`${code} ${reason}`)));
        const echoed = await new Promise((resolve, reject) => {
            socket.on("error", reject);
            socket.on("message", (data) => resolve(String(data)));
            socket.on("open", () => socket.send("by hand"));
        });
        await press("Connect");
        await page.getByRole("button", { name: "Send", exact: true, disabled: false }).click();
        await page.waitForFunction(() => /^< .*$/m.test(document.getElementById("tester-log").textContent.split("open: ").pop()));
        return { echoed, closed };
    };
    const first = await connect();
    const overflows = [];
    for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        for (const width of [1280, 390, 320]) {
            await page.setViewportSize({ width, height: 800 });
            await page.evaluate(() => document.querySelectorAll("details").forEach((it) => (it.open = true)));
            overflows.push(await overflow(page));
            serious.push(...(await faults(page)));
        }
    }
    const document_ = await page.evaluate(async () => {
        const links = [...document.querySelectorAll("#offers a")];
        return Promise.all(links.map(async ({ href }) => (await fetch(href)).json()));
    });

    // With cookies of their own, so that both are logged in.
    const owner = await (await context.browser().newContext()).newPage();
    owner.setDefaultTimeout(40_000);
    const ownersComplaints = listen(owner);
    await owner.goto(`http://127.0.0.1:${port}/portal`);
    await owner.getByLabel("Username").fill("mike");
    await owner.getByLabel("Password").fill(ownersPassword);
    await press("Log in", owner);
    await owner.waitForURL("**/portal");
    const subscribers = await owner.locator("section.owned tbody tr").allInnerTexts();
    await owner.getByLabel("Block… Echo Client at /echowebsocket/1.0.0").click();
    await take(owner, "portal-owner", { fullPage: true });
    for (const colorScheme of ["light", "dark"]) {
        await owner.emulateMedia({ colorScheme });
        for (const width of [1280, 390, 320]) {
            await owner.setViewportSize({ width, height: 800 });
            overflows.push(await overflow(owner));
            serious.push(...(await faults(owner)));
        }
    }
    await press("Block Echo Client at /echowebsocket/1.0.0", owner);
    await owner.getByText("was blocked").waitFor();
    const blocked = { said: await said(owner), closed: await first.closed };
    const isClosed = (count) =>
        page.waitForFunction((count) => document.getElementById("tester-log").textContent.split("closed: ").length > count, count);
    await isClosed(1);
    serious.push(...(await faults(owner)));
    await press("Unblock Echo Client at /echowebsocket/1.0.0", owner);
    await owner.getByText("is let through again").waitFor();
    const second = await connect();

    // The end of the subscription ends both.
    const log = page.locator("#tester-log");
    const other = await context.newPage();
    await other.goto(page.url());
    await other.getByLabel("End the subscription to EchoWebSocket").click();
    await other.getByText("The subscription was ended").waitFor();
    await isClosed(2);
    const tested = await log.innerText();
    const ended = await second.closed;
    return {
        offers, before, signedUp, twice, subscribed, changed, keys, copied, again, token, line, echoed: first.echoed, overflows,
        serious, asyncapi: document_, subscribers, blocked, tested, ended, ownersComplaints,
        // The browser complains of the name that was there already.
        complaints: complaints.filter((text) => !text.includes("409")),
    };
});
