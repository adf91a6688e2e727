// What the model saw of a question: a dialog that the worker's inspection of the request fills.
(() => {
  const TITLE = 'What the model saw';
  const CLOSE = 'Close';
  const ASKING = 'Asking the worker \u2026';
  const FAILED = 'The page\u2019s server does not answer. Try again.';

  const post = (path, body, signal) => fetch(`inspection/${path}`, {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify(body),
    signal,
  });

  // An answer by its conversation and the place that its buttons name.
  const placeOf = (button, named) => {
    const kind = button.closest('.transcript').id.replace(/-transcript$/, '');
    const [exchange, slot] = named.split('.').map(Number);
    return {id: window.conversations.id(kind), exchange, slot};
  };

  const dialog = document.createElement('dialog');
  dialog.id = 'saw';
  dialog.setAttribute('aria-labelledby', 'saw-title');
  dialog.innerHTML = `<header><h2 id="saw-title">${TITLE}</h2>
    <button type="button" class="close" aria-label="${CLOSE}" title="${CLOSE}">×</button></header>
    <div class="saw-told" role="status"></div><div class="saw-body" tabindex="0"></div>`;
  const said = dialog.querySelector('.saw-told'), body = dialog.querySelector('.saw-body');
  let asking = null, opener = null;

  const show = async (button) => {
    asking?.abort();
    const mine = asking = new AbortController();
    opener = button;
    body.replaceChildren();
    said.textContent = ASKING;
    if (!dialog.isConnected) document.body.append(dialog);
    if (!dialog.open) dialog.showModal();
    try {
      const answer = await post('answer', placeOf(button, button.dataset.inspect), mine.signal);
      const text = answer.ok ? await answer.text() : (await answer.json()).error;
      if (asking !== mine) return;
      said.textContent = answer.ok ? '' : text || FAILED;
      if (answer.ok) body.innerHTML = text;
    } catch {
      if (asking === mine) said.textContent = FAILED;
    }
  };

  dialog.addEventListener('close', () => {
    asking?.abort();
    asking = null;
    if (opener?.isConnected) opener.focus();
  });
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog || event.target.closest('.close')) dialog.close();
  });
  // Esc closes the dialog, and stops no answer behind it.
  window.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && dialog.open) event.stopPropagation();
  }, {capture: true});
  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('.turn [data-inspect]');
    if (button) show(button);
  });
})();
