// What /docs runs: ours, unlike the other files here.
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  displayRequestDuration: true,
  showCommonExtensions: true, // bounds of parameters
  validatorUrl: null, // it would ask a server on the internet
});
