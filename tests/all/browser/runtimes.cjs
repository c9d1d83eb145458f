// An operator looks after runtimes in the console. Prints what was seen.
const { launch, faults, overflow, complaints } = require(process.argv[1]);
const [, , port, adminToken, readToken] = process.argv;

launch(async (context) => {
    const page = await context.newPage();
    const complained = complaints(page);
    const home = `http://127.0.0.1:${port}/console/`;
    const button = (name, within = page) => within.getByRole("button", { name, exact: true });
    const dialog = page.locator("dialog");
    const line = (tenant, state) => page.locator("tbody tr", { hasText: tenant }).filter({ hasText: state });
    const enter = async (token) => {
        await page.getByLabel("Admin token").fill(token);
        await page.keyboard.press("Enter");
    };

    // One of them, from sleep to sleep.
    await page.goto(home);
    await enter(adminToken);
    await page.getByRole("link", { name: "Runtimes", exact: true }).click();
    await line("mike", "asleep").waitFor();
    await line("roberto", "asleep").waitFor();
    await button("Start the runtime of mike").click();
    await line("mike", "ready").waitFor();
    const why = await line("mike", "ready").innerText();
    await button("Log of the runtime of mike").click();
    const log = await dialog.innerText();
    await button("Close", dialog).click();
    await page.getByLabel("State", { exact: true }).selectOption("ready");
    await line("roberto", "asleep").waitFor({ state: "detached" });
    await page.getByLabel("State", { exact: true }).selectOption("");
    await line("roberto", "asleep").waitFor();
    await button("Stop the runtime of mike").click();
    const asked = await dialog.innerText();
    const safe = await page.evaluate(() => document.activeElement.textContent);
    await button("Stop the runtime").click();
    await line("mike", "asleep").waitFor();

    // All of them.
    for (const tenant of ["mike", "roberto"]) {
        await button(`Start the runtime of ${tenant}`).click();
        await line(tenant, "ready").waitFor();
    }
    await button("Restart all…").click();
    await dialog.getByLabel("At once").fill("17");
    const isHeld = !(await dialog.getByLabel("At once").evaluate((it) => it.checkValidity()));
    await dialog.getByLabel("At once").fill("2");
    await button("Restart all", dialog).click();
    await page.getByText("2 of 2").waitFor();
    await page.locator("section", { hasText: "All at once" }).locator(".chip", { hasText: "done" }).waitFor();

    await page.locator("tbody tr", { hasText: "mike" }).getByRole("link").click();
    await page.getByRole("heading", { level: 1, name: "mike" }).waitFor();
    await line("mike", "ready").waitFor();
    const own = await page.locator("section", { hasText: "Runtime, run by flowgate" }).innerText();

    // How long they stay awake is in the plan; what is not touched stays.
    await page.goto(`${home}#/plans`);
    const change = async (label, value) => {
        await button("Change tested").click();
        await dialog.getByLabel(label).fill(value);
        await button("Save the limits").click();
        await dialog.waitFor({ state: "detached" });
    };
    await change(/^Seconds without use/, "86400");
    await line("tested", "1 d").waitFor();
    await change("Live connections at once", "10");
    await line("tested", "10").waitFor();
    const plan = await line("tested", "10").innerText();

    const serious = [];
    const over = [];
    for (const [width, height] of [[1280, 900], [390, 844]]) {
        await page.setViewportSize({ width, height });
        for (const path of ["runtimes", "tenants/mike"]) {
            await page.goto(`${home}#/${path}`);
            await line("mike", "ready").waitFor();
            for (const colorScheme of ["light", "dark"]) {
                await page.emulateMedia({ colorScheme });
                serious.push(...(await faults(page)).map((fault) => `${path} ${width} ${colorScheme}: ${fault}`));
            }
            over.push(await overflow(page));
        }
    }

    // Somebody who may only look.
    await page.setViewportSize({ width: 1280, height: 900 });
    await button("Forget token").click();
    await enter(readToken);
    await page.goto(`${home}#/runtimes`);
    await line("mike", "ready").waitFor();
    await button("Restart all…").waitFor();
    const enabled = await page.locator("#main button:enabled:visible").allInnerTexts();
    return { why, log, asked, safe, isHeld, own, plan, serious, over, enabled, complained };
});
