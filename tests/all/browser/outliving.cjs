// mike is logged in; the browser then visits documents of roberto's, of all kinds, that try to leave something behind.
const { launch } = require(process.argv[1]);
const [, , port, password, key] = process.argv;

launch(async (context) => {
    const bare = `http://localhost:${port}`;
    const mikes = `http://mike.flows.localhost:${port}`;
    const robertos = `http://roberto.flows.localhost:${port}`;
    const page = await context.newPage();
    await page.goto(`${mikes}/red/page`);
    await page.getByLabel("Username").fill("mike");
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");
    await page.waitForURL(`${mikes}/red/page`);
    const cookies = async () => (await context.cookies(mikes)).map(({ name, value }) => `${name}=${value}`).sort();
    const before = await cookies();

    const other = await context.newPage();
    const documents = {};
    for (const kind of
        ["html", "svg", "xhtml", "xml", "mixed", "mhtml", "sniffed", "refreshed", "policy"]) {
        const tab = await context.newPage();
        const told = () => {
            const text = (document.querySelector("title") ?? document.documentElement).textContent;
            return text.startsWith("said ") ? text.slice(5) : null;
        };
        try {
            await tab.goto(`${bare}/public/roberto/as.${kind}`);
            const handle = await tab.waitForFunction(told, null, { timeout: kind.startsWith("m") ? 3000 : 40_000 });
            documents[kind] = JSON.parse(await handle.jsonValue());
        } catch (error) {
            // A download, or no script was run: not every kind is a page to the browser.
            documents[kind] = `${error}`.split("\n")[0];
        }
        await tab.close();
    }

    // On the shared host, and on the one that is roberto's own.
    for (const base of [`${bare}/public/roberto`, `${robertos}/api/public`]) {
        for (const path of ["mark", "clear", "clear-all"]) await other.goto(`${base}/${path}`);
    }
    await other.goto(`${bare}/public/roberto/mark`);
    await other.evaluate(() => fetch("mark", { mode: "cors" }).then((answer) => answer.text()).catch(() => ""));
    await other.goto(`${bare}/public/mike/visited`);

    const after = await cookies();

    // An address with a key in it, on a page that would show it to everybody.
    const loose = await context.newPage();
    await loose.goto(`${mikes}/api/loose?apikey=${key}`);
    await loose.evaluate(async (robertos) => {
        for (const address of [`${robertos}/api/public/linked`, "/api/public/shown"]) {
            const image = new Image();
            const shown = new Promise((done) => { image.onload = image.onerror = done; });
            image.src = `${address}?again`;
            await shown;
        }
    }, robertos);
    return { before, after, documents };
});
