// mike logs in on the way to his editor, drags a node into his flow, deploys it, and logs out in another window.
// Prints what was seen.
const { launch, complaints: listen, faults, overflow } = require(process.argv[1]);
const [, , port, password] = process.argv;

launch(async (context) => {
    const page = await context.newPage();
    const complaints = listen(page);
    const serious = [];
    const sockets = [];
    let closed;
    const comms = new Promise((done) => (closed = done));
    page.on("websocket", (socket) => {
        const seen = { url: socket.url(), frames: 0, closed: false };
        sockets.push(seen);
        socket.on("framereceived", () => (seen.frames += 1));
        socket.on("close", () => {
            seen.closed = true;
            closed();
        });
    });

    await page.goto(`http://mike.flows.localhost:${port}/red/`);
    const asked = page.url();
    serious.push(...(await faults(page)));
    await page.setViewportSize({ width: 320, height: 640 });
    const tooWide = await overflow(page);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.getByLabel("Username").fill("mike");
    await page.getByLabel("Password").fill("wrong");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").waitFor();
    const wrong = await page.getByRole("alert").innerText();
    complaints.length = 0; // The browser complains of the 401.
    serious.push(...(await faults(page)));
    await page.getByLabel("Password").fill(password);
    await page.keyboard.press("Enter");

    await page.locator("#red-ui-palette .red-ui-palette-node[data-palette-type=comment]").waitFor();
    const editor = page.url();
    const node = page.locator("#red-ui-palette .red-ui-palette-node[data-palette-type=comment]");
    await node.scrollIntoViewIfNeeded();
    const chart = await page.locator("#red-ui-workspace-chart").boundingBox();
    const from = await node.boundingBox();
    const comments = async () => {
        const options = { headers: { "Node-RED-API-Version": "v2" } };
        const flows = await page.evaluate(async (options) => (await fetch("/red/flows", options)).json(), options);
        return flows.flows.filter((node) => node.type === "comment").length;
    };
    const deployedBefore = await comments();
    const before = await page.locator("#red-ui-workspace-chart .red-ui-flow-node-group").count();
    await page.mouse.move(from.x + from.width / 2, from.y + from.height / 2);
    await page.mouse.down();
    await page.mouse.move(chart.x + 300, chart.y + 200, { steps: 8 });
    await page.mouse.move(chart.x + 320, chart.y + 220, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction((n) => document.querySelectorAll("#red-ui-workspace-chart .red-ui-flow-node-group").length > n, before);
    const deployed = page.waitForResponse((answer) => answer.url().endsWith("/red/flows") && answer.request().method() === "POST");
    await page.locator("#red-ui-header-button-deploy").click();
    const deploy = (await deployed).status();
    const added = (await comments()) - deployedBefore;
    const cookies = await context.cookies();
    const visible = await page.evaluate(() => document.cookie);

    const other = await context.newPage();
    const others = listen(other);
    const open = [...complaints];
    await other.goto(`http://localhost:${port}/logout`);
    serious.push(...(await faults(other)));
    await other.getByRole("button", { name: "Log out" }).click();
    await other.waitForURL("**/login");
    await comms;
    const again = await page.goto(`http://mike.flows.localhost:${port}/red/`);
    return {
        asked, wrong, editor, deploy, added, visible, sockets, complaints: [...open, ...others], serious, tooWide,
        cookies: cookies.map(({ name, domain, httpOnly, sameSite, path }) => ({ name, domain, httpOnly, sameSite, path })),
        after: page.url(), status: again.status(),
    };
});
