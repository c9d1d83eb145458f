// Opens mike's dashboard and presses its button. Prints what was seen.
const { launch } = require(process.argv[1]);
const [, , port, password, picture] = process.argv;

launch(async (context) => {
    const host = `mike.flows.localhost:${port}`;
    const page = await context.newPage();
    const transports = [];
    let frames = 0;
    page.on("response", (answer) => {
        const url = new URL(answer.url());
        if (url.pathname.includes("socket.io") && url.searchParams.has("transport")) {
            transports.push(`${url.searchParams.get("transport")} ${answer.status()}`);
        }
    });
    const upgraded = new Promise((done) => {
        page.on("websocket", (socket) => {
            // socket.io's probe has been answered: from now on it uses the WebSocket.
            socket.on("framereceived", () => {
                frames += 1;
                done(socket);
            });
        });
    });
    await page.goto(`http://mike:${password}@${host}/api/hello`);
    await page.goto(`http://${host}/api/ui/`);
    const socket = await upgraded;
    const said = page.locator(".nr-dashboard-text .value");
    await page.getByText("still").waitFor();
    const before = await said.innerText();
    await page.getByRole("button", { name: "Press" }).click();
    await page.getByText("pressed by mike").waitFor();
    const after = await said.innerText();
    if (picture) await page.screenshot({ path: picture });
    return { before, after, transports, socket: socket.url(), frames, closed: socket.isClosed() };
});
