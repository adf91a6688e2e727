// The cluster at a glance: asked for while it is in sight, and the buttons of its workers.
(() => {
  const EVERY_MS = 2000, LATER_MS = 300;
  const LOST = translate('page.lost');
  const begun = new WeakSet();

  window.operators = (element) => {
    const root = element.querySelector('.cluster');
    if (!root || begun.has(root)) return;
    begun.add(root);
    const part = (selector) => root.querySelector(selector);
    const search = part('[type=search]'), level = part('select'), view = part('.view');
    const told = part('.told'), dialog = part('dialog');
    let asked = 0, shown = '', drained = null, isPressed = false, later;

    const tell = (text, isError = false) => {
      told.textContent = text;
      told.classList.toggle('failed', isError);
    };
    const call = async (path, body) => {
      const options = body && {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)};
      const answer = await fetch(`operators/${path}`, options).catch(() => null);
      if (answer?.ok) return answer;
      const said = await answer?.json().catch(() => null);
      tell(typeof said?.error === 'string' ? said.error : LOST, true);
      return null;
    };

    const keyOf = (one) => `${one.closest('tr')?.dataset.worker} ${one.tagName}`;
    const rows = () => [...view.querySelectorAll('tr[data-worker]')];
    const keepOrder = (order) => {
      const place = (row) => { const n = order.indexOf(row.dataset.worker); return n < 0 ? order.length : n; };
      const sorted = rows().sort((one, other) => place(one) - place(other));
      sorted[0]?.parentElement.append(...sorted);
    };
    const show = (html) => {
      if (html === shown || isPressed) return; // what is being clicked stays until it is
      const focused = view.contains(document.activeElement) ? keyOf(document.activeElement) : null;
      const open = new Set([...view.querySelectorAll('details[open]')].map((one) => one.dataset.key));
      const isUsed = focused || view.matches(':hover'), order = rows().map((row) => row.dataset.worker);
      const box = view.querySelector('.scroll'), left = box?.scrollLeft ?? 0;
      view.innerHTML = shown = html;
      if (isUsed) keepOrder(order); // nothing moves away beneath a pointer
      for (const one of view.querySelectorAll('details')) one.open = open.has(one.dataset.key);
      if (left) view.querySelector('.scroll')?.scrollTo({left});
      if (focused) [...view.querySelectorAll('button, summary')].find((one) => keyOf(one) === focused)?.focus();
      if (document.activeElement !== level) level.value = view.querySelector('.sums')?.dataset.level ?? 'info';
    };
    const inSight = () => root.isConnected && root.checkVisibility() && document.visibilityState === 'visible';
    const refresh = async () => {
      const mine = ++asked;
      const answer = await call(`cluster?${new URLSearchParams({search: search.value})}`);
      const html = await answer?.text();
      if (mine !== asked || html === undefined) return;
      if (told.classList.contains('failed')) tell('');
      show(html);
    };
    const change = async (path, body, done) => {
      if (!await call(path, body)) return;
      tell(done);
      await refresh();
    };

    view.addEventListener('pointerdown', () => { isPressed = true; });
    for (const end of ['pointerup', 'pointercancel']) window.addEventListener(end, () => setTimeout(() => { isPressed = false; }));
    view.addEventListener('click', (event) => {
      const button = event.target.closest('button[data-do]');
      if (!button) return;
      const {worker} = button.closest('tr').dataset;
      if (button.dataset.do === 'undrain') return change('undrain', {worker}, translate('operators.undrained', {worker}));
      drained = worker;
      const told = translate('operators.drain_told', {worker: '<b class="worker"></b>'});
      dialog.querySelector('.drain-told').innerHTML = told;
      dialog.querySelector('.worker').textContent = worker;
      dialog.showModal();
    });
    dialog.addEventListener('click', (event) => {
      const choice = event.target.closest('button')?.dataset.do;
      if (!choice) return;
      dialog.close();
      if (choice === 'confirm') change('drain', {worker: drained}, translate('operators.is_drained', {worker: drained}));
    });
    dialog.addEventListener('keydown', (event) => { if (event.key === 'Escape') event.stopPropagation(); });
    level.addEventListener('change', () => change('log-level', {level: level.value}, translate('operators.log_level_set', {level: level.value})));
    search.addEventListener('input', () => {
      clearTimeout(later);
      later = setTimeout(refresh, LATER_MS);
    });

    new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) refresh(); }).observe(root);
    const timer = setInterval(() => {
      if (!root.isConnected) return clearInterval(timer);
      if (inSight() && !dialog.open) refresh();
    }, EVERY_MS);
  };
})();
