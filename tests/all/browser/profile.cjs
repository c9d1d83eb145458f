// mike uses his profile: keys, connections, the tester, the password. Prints what was seen.
const { launch } = require(process.argv[1]);
const [, , port, password, pictures] = process.argv;

const NEW_PASSWORD = "a better horse";

launch(async (context) => {
    const page = await context.newPage();
    const complaints = [];
    page.on("console", (said) => {
        if (said.type() === "error") complaints.push(said.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    const picture = (name) => (pictures ? page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true }) : null);
    const status = async () => (await page.getByRole("status").innerText()).trim();
    const secret = () => page.getByLabel("The new key").inputValue();
    const rows = () => page.locator("#connections tbody tr");

    // By keyboard alone.
    await page.goto(`http://127.0.0.1:${port}/profile`);
    const at = page.url();
    await page.keyboard.type("mike");
    await page.keyboard.press("Tab");
    await page.keyboard.type(password);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/profile");

    // Somebody is connected with the default key.
    await rows().first().waitFor();
    const live = await rows().first().innerText();
    await picture("profile");
    await page.getByText("Regenerate…").focus();
    await page.keyboard.press("Enter");
    const warning = await page.locator(".warn strong").first().innerText();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByLabel("The new key").waitFor();
    const regenerated = { said: await status(), key: await secret() };
    await picture("regenerated");
    await page.goto(`http://localhost:${port}/profile`);
    const again = await page.getByLabel("The new key").count();

    await page.getByText("New key…").click();
    await page.getByRole("textbox", { name: "Name" }).fill("<b>pump</b>");
    await page.getByLabel("Expires after days").fill("30");
    await page.getByLabel("Paths it opens").fill("/thing /a/b");
    await page.getByRole("button", { name: "Make the key" }).click();
    await page.getByLabel("The new key").waitFor();
    const created = { key: await secret(), row: await page.locator("tr", { hasText: "pump" }).innerText() };
    await page.getByText("Change…").first().click();
    await picture("named");
    await page.getByLabel("Old secret works for").fill("2");
    await page.getByRole("button", { name: "Rotate" }).click();
    await page.getByLabel("The new key").waitFor();
    const rotated = { said: await status(), key: await secret(), row: await page.locator("tr", { hasText: "pump" }).innerText() };
    await page.getByText("Change…").first().click();
    await page.getByRole("button", { name: "Revoke" }).click();
    await page.getByText("The key was revoked").waitFor();
    const left = await page.locator("tr", { hasText: "pump" }).count();

    await page.getByRole("button", { name: "Connect" }).click();
    await page.getByRole("button", { name: "Send" }).click();
    const log = page.locator("#tester-log");
    await page.waitForFunction(() => /^< /m.test(document.getElementById("tester-log").textContent));
    await rows().first().waitFor();
    const tested = await rows().first().innerText();
    await picture("tested");
    await rows().first().getByRole("button").click();
    await page.waitForFunction(() => /^closed: /m.test(document.getElementById("tester-log").textContent));
    const said = await log.innerText();

    await page.setViewportSize({ width: 360, height: 740 });
    await picture("narrow");
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    await page.emulateMedia({ colorScheme: "dark" });
    await picture("dark");
    const before = [...complaints];

    await page.locator("#h-password + details summary").click();
    await page.getByLabel("Present password").fill("wrong");
    await page.getByLabel("New password", { exact: true }).fill(NEW_PASSWORD);
    await page.getByLabel("New password again").fill(NEW_PASSWORD);
    await page.getByRole("button", { name: "Change the password" }).click();
    const refused = await page.getByRole("alert").innerText();
    await page.locator("#h-password + details summary").click();
    await page.getByLabel("Present password").fill(password);
    await page.getByLabel("New password", { exact: true }).fill(NEW_PASSWORD);
    await page.getByLabel("New password again").fill(NEW_PASSWORD);
    await page.getByRole("button", { name: "Change the password" }).click();
    await page.getByText("The password was changed.").waitFor();
    await page.goto(`http://localhost:${port}/profile`);
    const still = await page.getByRole("heading", { level: 1 }).innerText();
    await picture("end");
    await page.getByRole("button", { name: "Log out" }).click();
    await page.waitForURL("**/login");
    await page.goBack();
    const back = page.url();
    return {
        at, live, warning, regenerated, again, created, rotated, left, tested, log: said, overflow,
        complaints: before, refused, still, back,
    };
});
