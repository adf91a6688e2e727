// Keys of the page beside those of its controls: the last question again, and the list of all keys.
(() => {
  const TITLE = translate('keyboard.title'), CLOSE = translate('page.close');
  const SHORTCUTS = [
    [['Enter'], translate('keyboard.send')],
    [['Shift', 'Enter'], translate('keyboard.new_line')],
    [['Esc'], translate('keyboard.stop_or_close')],
    [['\u2191'], translate('keyboard.edit_last')],
    [['Ctrl', 'V'], translate('keyboard.attach')],
    [['\u2190', '\u2192'], translate('keyboard.next_tab')],
    [['?'], translate('keyboard.show')],
  ];

  const toggle = document.createElement('button');
  toggle.id = 'shortcuts-toggle';
  toggle.type = 'button';
  toggle.textContent = '?';
  toggle.title = TITLE;
  toggle.setAttribute('aria-label', TITLE);
  const dialog = document.createElement('dialog');
  dialog.id = 'shortcuts';
  dialog.setAttribute('aria-labelledby', 'shortcuts-title');
  const keys = (all) => all.map((key) => `<kbd>${key}</kbd>`).join(' ');
  dialog.innerHTML = `<h2 id="shortcuts-title">${TITLE}</h2>
    <dl>${SHORTCUTS.map(([all, what]) => `<div><dt>${keys(all)}</dt><dd>${what}</dd></div>`).join('')}</dl>
    <button type="button">${CLOSE}</button>`;

  const show = () => { if (!document.querySelector('dialog[open]')) dialog.showModal(); };
  toggle.addEventListener('click', show);
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog || event.target.closest('button')) dialog.close();
  });
  // Esc closes the list, and stops no answer behind it.
  window.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && dialog.open) event.stopPropagation();
  }, {capture: true});

  const isTyped = (target) => target.closest?.('input, textarea, select, [contenteditable=true]');
  const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.altKey || event.isComposing);
  const isEmpty = (target) => target.value === '' && !target.closest('.composer').querySelector('.thumbnail-item');
  document.addEventListener('keydown', (event) => {
    if (!isPlain(event) || event.defaultPrevented) return;
    if (event.key === '?' && !isTyped(event.target)) {
      event.preventDefault();
      show();
    } else if (event.key === 'ArrowUp' && !event.shiftKey && event.target.matches?.('.composer textarea') && isEmpty(event.target)) {
      const last = [...event.target.closest('.main').querySelectorAll('.turn.user')].pop();
      const edit = last?.querySelector('[data-edit]'); // none while it is answered
      if (!edit) return;
      event.preventDefault();
      edit.click();
    }
  });

  const begin = () => document.body.append(toggle, dialog);
  if (document.body) begin();
  else document.addEventListener('DOMContentLoaded', begin);
})();
