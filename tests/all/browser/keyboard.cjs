// mike uses his profile without a mouse. Prints what was seen.
const { launch, complaints: listen } = require(process.argv[1]);
const [, , port, password] = process.argv;

const STOPS_MAX = 150;

launch(async (context) => {
    const page = await context.newPage();
    const complaints = listen(page);
    const { keyboard } = page;
    const unseen = new Set();

    // The name of what has the focus, as a screen reader would say it, and whether one sees that it has it.
    const focused = () =>
        page.evaluate(() => {
            const it = document.activeElement;
            const label = it.labels?.[0]?.innerText ?? "";
            const name = it.getAttribute("aria-label") || label || it.innerText || it.value || it.id;
            const { outlineStyle, outlineWidth } = getComputedStyle(it);
            return { name: name.trim(), isSeen: it === document.body || (outlineStyle !== "none" && outlineWidth !== "0px") };
        });
    const tabTo = async (wanted) => {
        for (let stop = 0; stop < STOPS_MAX; stop += 1) {
            await keyboard.press("Tab");
            const { name, isSeen } = await focused();
            if (!isSeen) unseen.add(name);
            if (name.startsWith(wanted)) return;
        }
        throw new Error(`the Tab key never came to ${wanted}`);
    };
    const said = async () => (await page.getByRole("status").innerText()).trim();
    const press = async (wanted) => {
        await tabTo(wanted);
        await keyboard.press("Enter");
    };

    await page.goto(`http://localhost:${port}/profile`);
    // The first field gets the focus by itself.
    await page.locator("input[name=username]:focus").waitFor();
    await keyboard.type("mike");
    await keyboard.press("Tab");
    await keyboard.type(password);
    await keyboard.press("Enter");
    await page.waitForURL("**/profile");

    await press("Skip to the content");
    const skipped = new URL(page.url()).hash;
    await press("Regenerate…");
    await press("Regenerate the API key");
    await page.getByLabel("The new key").waitFor();
    const regenerated = await said();

    await press("New key…");
    await tabTo("Name");
    await keyboard.type("pump");
    await press("Make the key");
    await page.getByText("This is the key").waitFor();
    await press("Change pump");
    await press("Revoke");
    await page.getByText("The key was revoked").waitFor();

    await press("Connect");
    await page.waitForFunction(() => /^open: /m.test(document.getElementById("tester-log").textContent));
    await tabTo("Message");
    await keyboard.press("Enter");
    await page.waitForFunction(() => /^< /m.test(document.getElementById("tester-log").textContent));
    await page.locator("#connections tbody tr").first().waitFor();
    await press("Close the connection");
    await page.waitForFunction(() => /^closed: 1008/m.test(document.getElementById("tester-log").textContent));
    const log = await page.locator("#tester-log").innerText();

    await press("Log out");
    await page.waitForURL("**/login");
    return { skipped, regenerated, log, unseen: [...unseen], complaints, at: page.url() };
});
