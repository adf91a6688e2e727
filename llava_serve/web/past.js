// The list of past conversations: a column that can be folded, or on a narrow window a drawer.
(() => {
  const LATER_MS = 300; // several changes, and several keys, ask once
  const PAGE = 50, MOST = 1000;
  const FOLDED = 'conversations folded';
  const TITLE = translate('past.title'), FAILED = translate('page.server_failed');
  const wide = window.matchMedia('(min-width: 1100px)');
  const KINDS = ['chat', 'compare', 'arena'];

  const toggle = document.createElement('button');
  toggle.id = 'past-toggle';
  toggle.type = 'button';
  toggle.className = 'icon-list';
  toggle.setAttribute('aria-controls', 'past');
  const panel = document.createElement('nav');
  panel.id = 'past';
  panel.setAttribute('aria-label', TITLE);
  panel.innerHTML = `<h2 tabindex="-1">${TITLE}</h2>
    <div class="row"><a class="wide" data-new href="?">${translate('past.new')}</a>
    <button type="button" class="wide" data-do="import">${translate('past.import')}</button></div>
    <input type="file" accept=".json,application/json" hidden>
    <input type="search" placeholder="${translate('past.search_placeholder')}" aria-label="${translate('past.search')}" maxlength="200" autocomplete="off">
    <p class="past-told" role="alert"></p><div class="entries"></div>`;
  const veil = document.createElement('div');
  veil.id = 'past-veil';
  const part = (selector) => panel.querySelector(selector);
  const search = part('[type=search]'), file = part('[type=file]'), entries = part('.entries');

  const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* a browser that keeps nothing */ } };
  const tell = (text) => { part('.past-told').textContent = text; };

  // An address of this page, with what else it says: the theme, say.
  const address = (kind, id) => {
    const url = new URL(location.href);
    for (const name of [...KINDS, 'model']) url.searchParams.delete(name);
    if (kind) url.searchParams.set(kind, id);
    return url.href;
  };

  const isOpen = () => document.documentElement.classList.contains('past-open');
  const open = (is) => {
    document.documentElement.classList.toggle('past-open', is);
    toggle.setAttribute('aria-expanded', is);
    toggle.title = is ? translate('past.hide') : translate('past.show');
    toggle.setAttribute('aria-label', TITLE);
    const app = document.querySelector('gradio-app');
    if (app) app.inert = is && !wide.matches; // behind a drawer nothing can be reached
    if (is) refresh();
  };
  const fit = () => open(wide.matches && kept(FOLDED) !== 'yes');

  const call = async (path, options = {}) => {
    tell('');
    const answer = await fetch(`conversations${path}`, options).catch(() => null);
    if (answer?.ok) return answer;
    const told = await answer?.json().catch(() => null);
    tell(typeof told?.error === 'string' ? told.error : FAILED);
    return null;
  };

  let count = PAGE, last = 0, later;
  const refresh = async () => {
    if (!isOpen()) return;
    const mine = ++last;
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const asked = new URLSearchParams({search: search.value, count, zone});
    const answer = await fetch(`conversations?${asked}`).catch(() => null);
    if (mine !== last) return;
    if (!answer?.ok) return tell(translate('past.unreadable'));
    const html = await answer.text();
    if (mine !== last) return;
    // What is open waits for its user, unless they look for something else.
    if (html !== shown && (!entries.querySelector('.of-one[open]') || document.activeElement === search)) show(html);
    mark();
  };
  let shown = null; // what the server has said last
  const show = (html) => {
    const focused = document.activeElement.closest?.('#past li')?.dataset.id;
    entries.innerHTML = shown = html;
    for (const item of entries.querySelectorAll('li')) {
      item.querySelector('a').href = address(item.dataset.kind, item.dataset.id);
      if (item.dataset.id === focused) item.querySelector('a').focus();
    }
  };
  // The address names a conversation of each tab of the page, of which one is seen.
  const isSeen = (kind) => document.getElementById(`${kind}-tab-button`)?.getAttribute('aria-selected') === 'true';
  const mark = () => {
    const url = new URL(location.href);
    for (const item of entries.querySelectorAll('li')) {
      const isShown = url.searchParams.get(item.dataset.kind) === item.dataset.id && isSeen(item.dataset.kind);
      if (isShown) item.querySelector('a').setAttribute('aria-current', 'page');
      else item.querySelector('a').removeAttribute('aria-current');
    }
  };
  const refreshLater = () => {
    clearTimeout(later);
    later = setTimeout(refresh, LATER_MS);
  };
  const close = (item) => { // what was open has been done
    item?.querySelectorAll('details').forEach((one) => { one.open = false; });
    return refresh();
  };

  const save = async (item, kind) => {
    const answer = await call(`/${item.dataset.id}.${kind}`);
    if (!answer) return;
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${item.dataset.title.replace(/[^\p{L}\p{N}]+/gu, ' ').trim() || translate('past.filename')}.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    close(item);
  };

  const actions = {
    json: (item) => save(item, 'json'),
    html: (item) => save(item, 'html'),
    delete: async (item) => {
      if (!await call(`/${item.dataset.id}`, {method: 'DELETE'})) return;
      await close(item);
      search.focus();
    },
    more: () => {
      count = Math.min(count + 2 * PAGE, MOST);
      refresh();
    },
    import: () => file.click(),
  };

  panel.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-do]');
    if (button) actions[button.dataset.do](button.closest('li'));
    else if (event.target.closest('[data-new]')) event.target.closest('[data-new]').href = address();
    // To come to the same address again is to see its conversation, whatever tab of the page is open.
    const link = event.target.closest('a');
    if (link?.href === location.href) history.replaceState({...history.state, tab: link.closest('li')?.dataset.kind ?? 'chat'}, '');
  });
  panel.addEventListener('submit', async (event) => {
    event.preventDefault();
    const item = event.target.closest('li');
    const body = JSON.stringify({title: event.target.elements.title.value});
    const headers = {'Content-Type': 'application/json'};
    if (await call(`/${item.dataset.id}`, {method: 'PATCH', headers, body})) close(item);
  });
  panel.addEventListener('toggle', (event) => { // one at a time
    if (!event.target.open) return refreshLater();
    if (!event.target.matches('.of-one')) return;
    entries.querySelectorAll('.of-one[open]').forEach((one) => { if (one !== event.target) one.open = false; });
  }, true);
  file.addEventListener('change', async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    const answer = await call('/import', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: chosen});
    file.value = '';
    if (!answer) return;
    const {kind, id} = await answer.json();
    location.href = address(kind, id);
  });
  search.addEventListener('input', () => {
    count = PAGE;
    refreshLater();
  });
  toggle.addEventListener('click', () => {
    open(!isOpen());
    if (wide.matches) keep(FOLDED, isOpen() ? 'no' : 'yes');
    else if (isOpen()) part('h2').focus(); // not the search, for which a phone would show its keys
  });
  veil.addEventListener('click', () => open(false));
  // Esc closes the drawer, and stops no answer behind it.
  window.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.isComposing || !isOpen() || wide.matches) return;
    event.stopPropagation();
    open(false);
    toggle.focus();
  }, {capture: true});
  window.addEventListener('conversation', refreshLater);
  window.addEventListener('tabs', mark);
  wide.addEventListener('change', fit);

  const begin = () => {
    document.body.append(veil, toggle, panel);
    fit();
  };
  if (document.body) begin();
  else document.addEventListener('DOMContentLoaded', begin);
})();
