// A web address that is pasted or dropped into the box for questions stays text. A button among the
// box's tools makes the page's server fetch the picture behind it, which then takes its place.
(() => {
  const ATTACH = translate('image_url.attach'), FETCHING = translate('image_url.fetching');
  const LOST = translate('image_url.server_lost');
  const UNNAMED = translate('image_url.unnamed');
  const MOST = 4000; // characters of an address; the server takes no more
  const LOOK_MS = 200;
  const offers = new Map(); // box -> the address in its text, the button, and what ends the fetching

  const textarea = (box) => box.querySelector('textarea');
  const attached = (box) => box.querySelectorAll('.thumbnail-item').length;
  const isAddress = (text) => text.length <= MOST && /^https?:\/\/\S+$/i.test(text);
  const write = (box, text) => {
    textarea(box).value = text;
    textarea(box).dispatchEvent(new Event('input', {bubbles: true}));
  };
  const nameOf = (url) => {
    try {
      return decodeURIComponent(new URL(url).pathname.split('/').pop()).replace(/[/\\]/g, '_') || UNNAMED;
    } catch { // a percent sign that escapes nothing
      return UNNAMED;
    }
  };

  const withdraw = (box) => {
    offers.get(box)?.leaving.abort();
    offers.get(box)?.button.remove();
    offers.delete(box);
  };
  const offer = (box, url) => {
    withdraw(box);
    const button = Object.assign(document.createElement('button'), {type: 'button', textContent: ATTACH});
    button.addEventListener('click', () => take(box));
    document.querySelector(`#${box.id}-tools .image-tools`).append(button);
    offers.set(box, {url, button, leaving: new AbortController()});
  };

  const take = async (box) => {
    const {url, button, leaving} = offers.get(box);
    if (button.ariaDisabled === 'true') return;
    button.ariaDisabled = 'true'; // it keeps the focus
    button.textContent = FETCHING;
    const refusal = await fetchInto(box, url, leaving.signal).catch(() => LOST);
    if (leaving.signal.aborted) return;
    button.ariaDisabled = null;
    button.textContent = ATTACH;
    window.tell(refusal);
  };
  // Return why there is no picture.
  const fetchInto = async (box, url, signal) => {
    const answer = await fetch('image-url', {
      method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify({url}),
      signal,
    });
    if (!answer.ok) {
      const told = await answer.json().catch(() => ({}));
      return typeof told.error === 'string' ? told.error : LOST;
    }
    const type = answer.headers.get('Content-Type');
    const file = new File([await answer.blob()], nameOf(url), {type});
    const before = textarea(box).value, count = attached(box);
    if (signal.aborted || !before.includes(url)) return withdraw(box);
    const rest = before.replace(url, '').trim();
    withdraw(box);
    write(box, rest);
    textarea(box).focus();
    await window.attachFiles(box, [file]);
    if (attached(box) > count || textarea(box).value !== rest) return;
    write(box, before); // what has refused it has said why
    offer(box, url);
  };

  const look = () => {
    for (const [box, {url}] of offers) if (!textarea(box).value.includes(url)) withdraw(box);
  };
  setInterval(look, LOOK_MS);

  const listen = (event, carrier) => window.addEventListener(event, (happened) => {
    const box = happened.target.closest?.('.composer');
    const url = happened[carrier]?.getData('text/plain').trim() ?? '';
    if (!box || !happened.target.matches('textarea') || !isAddress(url)) return;
    setTimeout(() => { // the browser has put it into the text by then
      if (textarea(box).value.includes(url)) offer(box, url);
    });
  }, {capture: true});
  listen('paste', 'clipboardData');
  listen('drop', 'dataTransfer');
})();
