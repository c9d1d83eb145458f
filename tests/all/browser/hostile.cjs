// roberto logs in with his password, reads his own data, and then comes to mike's pages. Prints what each could do.
const { launch } = require(process.argv[1]);
const [, , domain, port, password] = process.argv;

launch(async (context) => {
    const bare = `http://${domain}:${port}`;
    const tenant = `http://roberto.${domain}:${port}`;
    const mikes = `http://mike.${domain}:${port}`;
    const page = await context.newPage();
    const text = async (url) => {
        const answer = await page.goto(url);
        return `${answer.status()} ${await page.locator("body").innerText()}`;
    };
    const own = {};
    for (const [name, base] of Object.entries({ bare, tenant })) {
        const login = await text(base.replace("//", `//roberto:${password}@`) + "/api/page");
        // Without a password in the address: the browser has kept it.
        own[name] = [login, await text(`${base}/api/data`), await text(`${base}/api/data.js`)];
    }
    await page.goto(`${tenant}/api/page`);
    own.fetched = await page.evaluate(async () => {
        const read = async (url, options) => (await fetch(url, options)).text();
        localStorage.setItem("robertos", "roberto's secret");
        return [await read("/api/data", { cache: "reload" }), await read("/api/change?own", { method: "POST" })];
    });
    // So that the browser has it as a script, too.
    await page.addScriptTag({ url: "/api/data.js" });
    const evil = {};
    const addresses = { public: `${bare}/public/mike/evil.html`, tenant: `${mikes}/api/public/evil.html` };
    for (const [stage, address] of Object.entries(addresses)) {
        const mike = await context.newPage();
        await mike.goto(`${address}?stage=${stage}&bare=${bare}&tenant=${tenant}`);
        const results = await mike.waitForFunction(() => window.results);
        evil[stage] = await results.jsonValue();
    }
    // He is still logged in: nothing above failed because the password was gone.
    own.after = [await text(`${bare}/api/data?after`), await text(`${tenant}/api/data?after`)];
    return { own, evil };
});
