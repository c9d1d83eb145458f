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
    await page.setViewportSize({ width: 1280, height: 540 });
    await page.goto(`http://mike.flows.localhost:${port}/red/`);
    await take("login");
    await page.setViewportSize({ width: 1280, height: 800 });
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
    await page.getByText("Regenerate…").click();
    await page.getByRole("button", { name: "Connect", exact: true }).click();
    for (const text of ["hello", "is anybody there?"]) {
        await page.getByRole("textbox", { name: "Message" }).fill(text);
        await page.getByRole("button", { name: "Send" }).click();
        await page.waitForFunction((text) => document.getElementById("tester-log").textContent.includes(`"payload":"${text}"`), text);
    }
    await page.locator("#connections tr", { hasText: "session" }).getByText("2 in, 2 out").waitFor();
    await page.evaluate(() => document.activeElement.blur());
    // The page in two pictures: down to what is live, and from the tester on.
    const [at, height] = await page.evaluate(() => {
        scrollTo(0, 0);
        return [document.getElementById("tester").getBoundingClientRect().top, document.documentElement.scrollHeight];
    });
    await take("profile", { fullPage: true, clip: { x: 0, y: 0, width: 1280, height: at - 8 } });
    await take("profile-tester", { fullPage: true, clip: { x: 0, y: at - 8, width: 1280, height: height - at + 8 } });
    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 390, height: 1080 });
    await take("profile-narrow-dark");
    return taken;
});
