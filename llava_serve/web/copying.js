// Copies a text; `navigator.clipboard` is there over https and on localhost only.
window.copyText = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* not there, or not allowed */ }
  const focused = document.activeElement;
  const box = document.createElement('textarea');
  box.value = text;
  box.style.cssText = 'position: fixed; top: 0; opacity: 0';
  document.body.append(box);
  box.select();
  const isCopied = document.execCommand('copy');
  box.remove();
  focused?.focus({preventScroll: true});
  return isCopied;
};
