// The upload of pictures: a few at once, and each again while its server has no time for it.
window.uploadPictures = (() => {
  const AT_ONCE = 3, TRIES = 5, FIRST_MS = 500, LONGEST_MS = 60_000;
  const OF_THE_PICTURE = [400, 413, 415, 422]; // by status of the answer
  const PASSING = [undefined, 408, 429, 502, 503, 504]; // undefined where none came

  const pause = (ms) => new Promise((after) => { setTimeout(after, ms); });

  // `send` takes a picture and its position; its errors have the answer's `status`, and in `after`
  // the seconds that it asks to wait for. Returns how many `arrived`, and by reason the names of
  // those that were `refused` and of those that are `missing`, which were not judged at all.
  return async (files, send, progress) => {
    const told = {arrived: 0, refused: new Map(), missing: new Map()};
    let next = 0, done = 0, tries = TRIES;
    const put = async (file, position) => {
      for (let tried = 1; ; tried += 1) {
        try {
          await send(file, position);
          told.arrived += 1;
          tries = TRIES;
          return;
        } catch ({message, status, after = 0}) {
          const passes = PASSING.includes(status);
          if (passes && tried < tries) {
            await pause(Math.min(LONGEST_MS, Math.max(1000 * after, FIRST_MS * 2 ** (tried - 1))));
            continue;
          }
          if (passes) tries = 1; // the others wait no longer, until one arrives
          const reasons = OF_THE_PICTURE.includes(status) ? told.refused : told.missing;
          reasons.set(message, [...(reasons.get(message) ?? []), file.name]);
          return;
        }
      }
    };
    const worker = async () => {
      while (next < files.length) {
        const position = next++;
        await put(files[position], position);
        progress(++done, files.length);
      }
    };
    await Promise.all(Array.from({length: AT_ONCE}, worker));
    return told;
  };
})();
