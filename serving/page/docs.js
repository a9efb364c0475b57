// Swagger UI, of BentoML's package, on this service's own description of its interface.

const DESCRIPTION = new URL("docs.json", document.baseURI).href;

/** Fields of the form that may be null, as text or a choice: Swagger UI would offer a field that
 *  already holds the text "null". JSON bodies keep their nulls. */
function withoutNulls(text) {
  const description = JSON.parse(text);
  const fields = description.components.schemas.ClassifyForm.properties;
  for (const field of Object.values(fields)) {
    const kinds = field.anyOf?.filter(({ type }) => type !== "null") ?? [];
    if (kinds.length !== 1) continue;
    delete field.anyOf;
    delete field.default;
    Object.assign(field, kinds[0]);
  }
  return JSON.stringify(description);
}

SwaggerUIBundle({
  url: DESCRIPTION,
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null, // otherwise it may send the description to another server
  responseInterceptor(response) {
    if (response.ok && response.url === DESCRIPTION) response.text = withoutNulls(response.text);
    return response;
  },
});
