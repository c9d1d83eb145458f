// Pictures of the pages for the documentation, with an account on which something goes on. Prints which were taken.
const { launch, camera } = require(process.argv[1]);
const [, , port, password, folder] = process.argv;

launch(async (context) => {
    const page = await context.newPage();
    const taken = [];
    const shoot = camera(folder);
    const take = async (name, options) => {
        await shoot(page, name, options);
        taken.push(name);
    };
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.goto(`http://mike.flows.localhost:${port}/red/`);
    await take("login");
    await page.getByLabel("Username").fill("mike");
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");
    await page.locator("#red-ui-palette .red-ui-palette-node[data-palette-type=comment]").waitFor();
    await page.locator("#red-ui-workspace-chart .red-ui-flow-node-group").first().waitFor();
    await page.locator("#red-ui-loading-progress").waitFor({ state: "hidden" });
    await take("editor");

    await page.goto(`http://localhost:${port}/profile`);
    await page.waitForFunction(async () => (await (await fetch("/profile/traffic")).json()).hours.length > 0);
    await page.reload();
    await page.getByRole("button", { name: "Connect", exact: true }).click();
    await page.getByRole("button", { name: "Send" }).click();
    await page.waitForFunction(() => /^< /m.test(document.getElementById("tester-log").textContent));
    await page.evaluate(() => document.activeElement.blur());
    await take("profile", { fullPage: true });
    await page.emulateMedia({ colorScheme: "dark" });
    await take("profile-dark", { fullPage: true });
    await page.setViewportSize({ width: 390, height: 844 });
    await take("profile-narrow-dark", { fullPage: true });
    await page.emulateMedia({ colorScheme: "light" });
    await take("profile-narrow", { fullPage: true });
    return taken;
});
