// Files the browser keeps, so that they can be handed in again where the studio has lost them.

const MOST = 60 << 20; // bytes of one file

function store(mode, work) {
  return new Promise((done, failed) => {
    const open = indexedDB.open("infinex", 1);
    open.onupgradeneeded = () => open.result.createObjectStore("files");
    open.onerror = () => failed(open.error);
    open.onsuccess = () => {
      const change = open.result.transaction("files", mode);
      const asked = work(change.objectStore("files"));
      change.oncomplete = () => { open.result.close(); done(asked?.result); };
      change.onerror = change.onabort = () => { open.result.close(); failed(change.error); };
    };
  });
}

// None of these fails: a browser that keeps nothing only cannot hand in again.
export const keep = (name, file) => (file.size > MOST ? Promise.resolve() : store("readwrite", (s) => s.put(file, name)).catch(() => {}));
export const kept = (name) => store("readonly", (s) => s.get(name)).catch(() => undefined);
export const forget = (name) => store("readwrite", (s) => s.delete(name)).catch(() => {});
