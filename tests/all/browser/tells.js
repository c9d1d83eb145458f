(async () => {
    const said = { origin: self.origin };
    const attempt = async (name, action) => {
        try {
            const within = new Promise((done) => setTimeout(done, 2000, "no: nothing happened"));
            said[name] = `${await Promise.race([action(), within])}`;
        } catch (error) {
            said[name] = `no: ${error.name}`;
        }
    };
    await attempt("cookies", () => document.cookie);
    await attempt("storage", () => localStorage.length);
    await attempt("session storage", () => sessionStorage.length);
    await attempt("caches", () => caches.keys());
    await attempt("database", () => new Promise((done, failed) => {
        const opened = indexedDB.open("x");
        opened.onsuccess = () => done("opened");
        opened.onerror = () => failed(opened.error);
    }));
    await attempt("files", async () => (await navigator.storage.getDirectory()).name);
    await attempt("service worker", async () => (await navigator.serviceWorker.getRegistrations()).length);
    await attempt("shared worker", () => new Promise((done, failed) => {
        const worker = new SharedWorker("as.js");
        worker.onerror = failed;
        worker.port.onmessage = done;
    }));
    await attempt("locks", async () => (await navigator.locks.query()).held.length);
    await attempt("window", () => window.open("/profile") === null ? "no: null" : "opened");
    await attempt("profile", async () => (await fetch("/profile", { credentials: "include" })).status);
    await attempt("own path of another", async () =>
        (await fetch("/api/data", { credentials: "include" })).status);
    await attempt("domain", () => {
        document.domain = "localhost";
        return document.domain;
    });
    const title = document.querySelector("title") ?? document.documentElement;
    title.textContent = `said ${JSON.stringify(said)}`;
})();
