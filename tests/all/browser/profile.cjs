// mike uses his profile: plan, keys, connections, refusals, the tester, the password. Prints what was seen.
const { launch, camera, complaints: listen, faults, overflow } = require(process.argv[1]);
const [, , port, password, key, pictures] = process.argv;
const WebSocket = require("ws");

const NEW_PASSWORD = "a better horse";

launch(async (context) => {
    const page = await context.newPage();
    const complaints = listen(page);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const take = camera(pictures);
    const serious = [];
    const status = async () => (await page.getByRole("status").innerText()).trim();
    const secret = () => page.getByLabel("The new key").inputValue();
    const rows = () => page.locator("#connections tbody tr");
    const section = (name) => page.getByRole("region", { name, exact: true });
    const openAll = () => page.evaluate(() => document.querySelectorAll("details").forEach((it) => (it.open = true)));

    await page.goto(`http://127.0.0.1:${port}/profile`);
    const at = page.url();
    await page.getByLabel("Username").fill("mike");
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.waitForURL("**/profile");

    // Somebody is connected with the default key.
    await rows().first().waitFor();
    const live = await rows().first().innerText();
    const account = await section("Account").innerText();
    const used = await section("API key").innerText();
    await page.getByText("Regenerate…").click();
    const warning = await page.locator(".warn strong").first().innerText();
    serious.push(...(await faults(page)));
    // The warning is as old as the list of what is live, not as the page.
    const second = new WebSocket(`ws://127.0.0.1:${port}/api/thing`, { headers: { apikey: key } });
    await section("API key").getByText("2 live connections will close.").waitFor();
    const inUse = await page.locator("#use").getAttribute("value");
    second.terminate();
    await section("API key").getByText(warning).waitFor();
    await page.getByRole("button", { name: "Regenerate the API key" }).click();
    await page.getByLabel("The new key").waitFor();
    const regenerated = { said: await status(), key: await secret() };
    await page.getByRole("button", { name: "Copy", exact: true }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    serious.push(...(await faults(page)));
    // Whoever comes with the old one is told to mike, with the cause.
    const late = await fetch(`http://127.0.0.1:${port}/api/echo`, { headers: { apikey: key } });
    // Loading it again sends no form again.
    await page.reload();
    const again = { keys: await page.getByLabel("The new key").count(), url: page.url() };
    const refusal = { status: late.status, said: await section("Refused lately").innerText() };

    await page.getByText("New key…").click();
    await page.getByRole("textbox", { name: "Name" }).fill("<b>pump</b>");
    await page.getByLabel("Expires after days").fill("30");
    await page.getByLabel("Paths it opens").fill("/thing /a/b");
    await page.getByRole("button", { name: "Make the key" }).click();
    await page.getByLabel("The new key").waitFor();
    const created = { key: await secret(), row: await page.locator("tr", { hasText: "pump" }).innerText() };
    await page.getByText("Change…").first().click();
    await take(page, "changing-a-key", { fullPage: true });
    await page.getByLabel("Old secret works for").fill("2");
    await page.getByRole("button", { name: "Rotate" }).click();
    await page.getByLabel("The new key").waitFor();
    const rotated = { said: await status(), key: await secret(), row: await page.locator("tr", { hasText: "pump" }).innerText() };
    await page.getByText("Change…").first().click();
    await page.getByRole("button", { name: "Revoke" }).click();
    await page.getByText("The key was revoked").waitFor();
    const left = await page.locator("tr", { hasText: "pump" }).count();

    await page.getByRole("button", { name: "Connect", exact: true }).click();
    await page.getByRole("button", { name: "Send" }).click();
    const log = page.locator("#tester-log");
    await page.waitForFunction(() => /^< /m.test(document.getElementById("tester-log").textContent));
    await rows().first().waitFor();
    const tested = await rows().first().innerText();
    await rows().first().getByRole("button").click();
    await page.waitForFunction(() => /^closed: /m.test(document.getElementById("tester-log").textContent));
    const said = await log.innerText();

    // What it carried is drawn.
    await page.waitForFunction(async () => (await (await fetch("/profile/traffic")).json()).hours.length > 0);
    await page.reload();
    const drawn = await page.locator("#traffic figure").allInnerTexts();
    const bars = await page.locator("#traffic rect.in").count();

    // Nothing listens there: the runtime takes its time to say so.
    await page.getByLabel("Path", { exact: true }).fill("/api/nothing");
    await page.getByRole("button", { name: "Connect", exact: true }).click();

    // Every size, light and dark, with everything folded out.
    await openAll();
    const overflows = [];
    for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        for (const width of [1280, 390, 320]) {
            await page.setViewportSize({ width, height: 800 });
            overflows.push(await overflow(page));
            serious.push(...(await faults(page)));
            await take(page, `unfolded-${colorScheme}-${width}`, { fullPage: true });
        }
    }
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.waitForFunction(() => /^refused: /m.test(document.getElementById("tester-log").textContent));
    await section("Refused lately").getByText("handshake of /api/nothing").waitFor();
    // The browser complains of that handshake, too.
    const before = complaints.filter((said) => !said.includes("/api/nothing?ticket="));

    // No script of somebody else's runs here, and none that stands in the page.
    await page.evaluate(() => {
        Object.assign(window, { ran: [], blocked: [] });
        document.addEventListener("securitypolicyviolation", (event) => window.blocked.push(event.blockedURI));
        const sources = [{ textContent: "window.ran.push('inline')" }, { src: "data:text/javascript,window.ran.push('data')" }, { src: "/api/public/hello" }];
        for (const source of sources) document.body.append(Object.assign(document.createElement("script"), source));
    });
    await page.waitForFunction(() => window.blocked.length === 3);
    const injected = await page.evaluate(() => [window.ran, window.blocked]);

    const change = async (old) => {
        await openAll();
        await page.getByLabel("Present password").fill(old);
        await page.getByLabel("New password", { exact: true }).fill(NEW_PASSWORD);
        await page.getByLabel("New password again").fill(NEW_PASSWORD);
        await page.getByRole("button", { name: "Change the password" }).click();
    };
    await change("wrong");
    const refused = await page.getByRole("alert").innerText();
    await change(password);
    await page.getByText("The password was changed.").waitFor();
    await page.goto(`http://localhost:${port}/profile`);
    const still = await page.getByRole("heading", { level: 1 }).innerText();

    // Another window shows the profile, too, until the session ends.
    const other = await context.newPage();
    await other.goto(`http://localhost:${port}/profile`);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.waitForURL("**/login");
    serious.push(...(await faults(page)));
    await other.bringToFront();
    await other.waitForURL("**/login?*");
    await page.goBack();
    const back = page.url();
    return {
        at, live, account, used, warning, inUse, regenerated, copied, refusal, injected, again, created, rotated, left, tested, log: said, drawn, bars, overflows,
        complaints: before, refused, still, back, serious,
    };
});
