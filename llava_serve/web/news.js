// Asks the page's server whether there is news; only then an event of the page, which costs a tab
// and the server many times more, brings it. A page that nobody sees asks for nothing.
(() => {
  const EVERY_MS = 2000;
  const MOST_QUIET = 15; // the server keeps tabs whose events come, those used last the longest
  const PATIENCE = 3; // so many looks later an event that has not come to its end is tried again
  const KINDS = ['chat', 'compare', 'arena'];

  window.watchNews = (bring) => {
    let known = null, asked = null, looks = 0; // `known` is what an event has brought
    window.newsBrought = () => { known = asked; };
    const look = async () => {
      if (document.hidden) return;
      const ids = KINDS.map((kind) => ['shown', window.conversations.of(kind)?.id ?? '']);
      const answer = await fetch(`news?${new URLSearchParams(ids)}`).catch(() => null);
      if (!answer?.ok) return;
      const told = await answer.text();
      looks += 1;
      if (told === asked && looks < (told === known ? MOST_QUIET : PATIENCE)) return;
      [asked, looks] = [told, 0];
      bring();
    };
    setInterval(look, EVERY_MS);
    document.addEventListener('visibilitychange', look);
  };
})();
