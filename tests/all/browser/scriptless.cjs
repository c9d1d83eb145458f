// The essentials without scripts. Prints what was seen.
const { launch } = require(process.argv[1]);
const [, , port, password] = process.argv;

launch(async (context) => {
    const scriptless = await context.browser()?.newContext({ javaScriptEnabled: false });
    const page = await (scriptless ?? context).newPage();
    await page.goto(`http://localhost:${port}/`);
    await page.getByLabel("Username").fill("mike");
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: "mike" }).waitFor();
    const tester = await page.locator("#tester").isVisible();
    const close = page.locator("#connections").getByRole("button");
    await close.first().click();
    const closed = await page.getByRole("status").innerText();
    await page.getByText("Regenerate…").click();
    await page.getByRole("button", { name: "Regenerate the API key" }).click();
    const key = await page.getByLabel("The new key").inputValue();
    await page.getByRole("button", { name: "Log out" }).click();
    await page.waitForURL("**/login");
    return { tester, closed, key, isScriptless: Boolean(scriptless) };
});
