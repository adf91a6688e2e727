// The card of what went wrong outside any answer: it can be closed, and goes once its user goes on.
(() => {
  const dismiss = (element) => {
    const kind = element.closest('.main')?.querySelector('.signal [data-kind]')?.dataset.kind;
    if (kind) window.conversations.of(kind)?.dismiss();
  };
  const listen = (event, take) => window.addEventListener(event, take, {capture: true});

  listen('click', (event) => {
    const control = event.target.closest?.('.notice .close, .example');
    if (!control) return;
    const box = control.closest('.main')?.querySelector('.composer textarea');
    dismiss(control);
    if (control.matches('.close')) box?.focus();
  });
  // What a script fills in is a draft that comes back: nobody has read the card by then.
  listen('input', (event) => {
    if (event.isTrusted && event.target.matches('.composer textarea')) dismiss(event.target);
  });
  listen('attaching', (event) => dismiss(event.target));
})();
