// mike uses his profile: keys, connections, the tester, the password. Prints what was seen.
const { launch, camera, complaints: listen, faults, overflow } = require(process.argv[1]);
const [, , port, password, pictures] = process.argv;

const NEW_PASSWORD = "a better horse";

launch(async (context) => {
    const page = await context.newPage();
    const complaints = listen(page);
    const take = camera(pictures);
    const serious = [];
    const status = async () => (await page.getByRole("status").innerText()).trim();
    const secret = () => page.getByLabel("The new key").inputValue();
    const rows = () => page.locator("#connections tbody tr");
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
    await page.getByText("Regenerate…").click();
    const warning = await page.locator(".warn strong").first().innerText();
    serious.push(...(await faults(page)));
    await page.getByRole("button", { name: "Regenerate the API key" }).click();
    await page.getByLabel("The new key").waitFor();
    const regenerated = { said: await status(), key: await secret() };
    serious.push(...(await faults(page)));
    // Loading it again sends no form again.
    await page.reload();
    const again = { keys: await page.getByLabel("The new key").count(), url: page.url() };

    await page.getByText("New key…").click();
    await page.getByRole("textbox", { name: "Name" }).fill("<b>pump</b>");
    await page.getByLabel("Expires after days").fill("30");
    await page.getByLabel("Paths it opens").fill("/thing /a/b");
    await page.getByRole("button", { name: "Make the key" }).click();
    await page.getByLabel("The new key").waitFor();
    const created = { key: await secret(), row: await page.locator("tr", { hasText: "pump" }).innerText() };
    await page.getByText("Change…").first().click();
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
    const before = [...complaints];

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
        at, live, warning, regenerated, again, created, rotated, left, tested, log: said, drawn, bars, overflows,
        complaints: before, refused, still, back, serious,
    };
});
