// Texts of the page in its language, for the scripts; and the menu that chooses the language.
(() => {
  const texts = window.scriptTexts, rules = new Intl.PluralRules(texts.language);
  document.documentElement.lang = texts.language;

  // A text with its values in the places that it has for them; `count` chooses among its plurals.
  window.translate = (key, values = {}) => {
    const text = texts[key];
    const chosen = typeof text === 'string' ? text : text[rules.select(values.count)] ?? text.other;
    return chosen.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  };

  window.languageMenu = (element) => {
    const menu = element.querySelector('select');
    for (const [tag, name] of Object.entries(window.languages)) {
      const option = new Option(name, tag, false, tag === texts.language);
      option.lang = tag;
      menu.add(option);
    }
    menu.addEventListener('change', () => {
      document.cookie = `language=${menu.value}; path=${new URL(document.baseURI).pathname}; max-age=31536000; samesite=lax`;
      location.reload();
    });
  };
})();
