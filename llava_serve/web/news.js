// Asks the page's server whether there is news; only then an event of the page, which costs a tab
// and the server many times more, brings it. A page that nobody sees asks for nothing.
(() => {
  const EVERY_MS = 2000;
  const MOST_QUIET = 15; // the server keeps tabs whose events come, those used last the longest
  const KINDS = ['chat', 'compare', 'arena'];

  window.watchNews = (bring) => {
    let known = null, quiet = 0;
    const look = async () => {
      if (document.hidden) return;
      const ids = KINDS.map((kind) => ['shown', window.conversations.of(kind)?.id ?? '']);
      const answer = await fetch(`news?${new URLSearchParams(ids)}`).catch(() => null);
      if (!answer?.ok) return;
      const told = await answer.text();
      if (told === known && ++quiet < MOST_QUIET) return;
      [known, quiet] = [told, 0];
      bring();
    };
    setInterval(look, EVERY_MS);
    document.addEventListener('visibilitychange', look);
  };
})();
