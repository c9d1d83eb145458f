// mike is logged in and has his editor open; then he looks at a page on roberto's host, which tries to use that.
// Prints what came of it.
const { launch } = require(process.argv[1]);
const [, , port, password, robertosCookie] = process.argv;

launch(async (context) => {
    const page = await context.newPage();
    const mikes = `http://mike.flows.localhost:${port}`;
    const bare = `http://localhost:${port}`;
    await page.goto(`${mikes}/red/page`);
    await page.getByLabel("Username").fill("mike");
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");
    await page.waitForURL(`${mikes}/red/page`);
    const own = await page.locator("body").innerText();

    await page.goto(`http://roberto.flows.localhost:${port}/api/public/page`);
    const tries = await page.evaluate(async ({ mikes, bare, port }) => {
        const said = {};
        const attempt = async (name, action) => {
            try {
                said[name] = `${await action()}`;
            } catch (error) {
                said[name] = `no: ${error.name}`;
            }
        };
        const credentials = { credentials: "include" };
        const text = async (answer) => (await answer).text();
        await attempt("read", () => text(fetch(`${mikes}/red/page`, credentials)));
        await attempt("deploy", () => text(fetch(`${mikes}/red/hostile`, { ...credentials, method: "POST", body: "[]" })));
        await attempt("deploy unseen", async () => {
            await fetch(`${mikes}/red/hostile`, { ...credentials, method: "POST", mode: "no-cors", body: "[]" });
            return "no: nothing to see";
        });
        await attempt("regenerate", async () => {
            await fetch(`${bare}/profile/api-key`, { ...credentials, method: "POST", mode: "no-cors" });
            return "no: nothing to see";
        });
        const socket = (url) =>
            new Promise((done, failed) => {
                const socket = new WebSocket(url);
                socket.onopen = () => done("open");
                socket.onerror = () => failed(new Error("refused"));
            });
        await attempt("comms", () => socket(`ws://mike.flows.localhost:${port}/red/comms`));
        await attempt("api", () => socket(`ws://mike.flows.localhost:${port}/api/thing`));
        const frame = (src) =>
            new Promise((done) => {
                const frame = document.createElement("iframe");
                frame.onload = () => done("no: loaded");
                frame.src = src;
                document.body.append(frame);
            });
        await attempt("editor in a frame", () => frame(`${mikes}/red/hostile-frame`));
        await attempt("profile in a frame", () => frame(`${bare}/profile`));
        const form = (action, fields) =>
            new Promise((done) => {
                const frame = document.createElement("iframe");
                frame.name = `f${Math.random()}`;
                document.body.append(frame);
                frame.onload = () => done("no: answered");
                const form = document.createElement("form");
                Object.assign(form, { action, method: "post", target: frame.name });
                for (const [name, value] of Object.entries(fields)) {
                    const input = document.createElement("input");
                    Object.assign(input, { name, value });
                    form.append(input);
                }
                document.body.append(form);
                form.submit();
            });
        await attempt("deploy by a form", () => form(`${mikes}/red/hostile`, { a: "b" }));
        await attempt("log out", () => form(`${bare}/logout`, { token: "x" }));
        await attempt("log in", () => form(`${bare}/login`, { token: "x", username: "roberto", password: "correct-horse-roberto" }));
        return said;
    }, { mikes, bare, port });

    // A form in the window itself.
    const other = await context.newPage();
    await other.goto(`http://roberto.flows.localhost:${port}/api/public/page`);
    await other.evaluate((mikes) => {
        const form = document.createElement("form");
        Object.assign(form, { action: `${mikes}/red/hostile`, method: "post" });
        document.body.append(form);
        form.submit();
    }, mikes);
    await other.waitForURL(`${mikes}/red/hostile`);
    const inWindow = await other.locator("body").innerText();

    // Cookies for everybody below the base domain, and for the base domain itself.
    const tossed = await page.evaluate((value) => {
        for (const name of ["flowgate-session", "__Host-flowgate-session", "flowgate-login", "flowgate-handover"]) {
            for (const domain of ["flows.localhost", "localhost"]) {
                document.cookie = `${name}=${value}; Domain=${domain}; Path=/`;
                document.cookie = `${name}=${value}; Domain=${domain}; Path=/profile`;
                document.cookie = `${name}=${value}; Domain=${domain}; Path=/red`;
            }
        }
        return document.cookie;
    }, robertosCookie);
    await page.goto(`${mikes}/red/page`);
    const after = await page.locator("body").innerText();
    await page.goto(`http://localhost:${port}/profile`);
    const profile = await page.getByRole("heading", { level: 1 }).innerText();
    await page.goto(`http://flows.localhost:${port}/profile`);
    await page.waitForURL(`${bare}/profile`);
    const named = await page.getByRole("heading", { level: 1 }).innerText();
    return { own, tries, inWindow, tossed, after, profile, named };
});
