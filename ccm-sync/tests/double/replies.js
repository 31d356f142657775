// Answers, and errors in the shapes that Supabase's parts give them.

export function json(status, body, headers = {}) {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
    body: Buffer.from(JSON.stringify(body)),
  };
}

export const nothing = (status) => ({ status, headers: {}, body: Buffer.alloc(0) });

/** An error of Auth. Clients that name a version of the API get the code as text. */
export function authError(request, status, code, message) {
  const named = (request.headers["x-supabase-api-version"] ?? "") >= "2024-01-01";
  const headers = { "x-sb-error-code": code };
  if (!named) return json(status, { code: status, error_code: code, msg: message }, headers);
  return json(status, { code, message }, { ...headers, "x-supabase-api-version": "2024-01-01" });
}

/** An error of PostgREST. */
export function restError(status, code, message, headers = {}) {
  return json(status, { code, message, details: null, hint: null }, headers);
}

export const expiredForRest = () =>
  restError(401, "PGRST303", "JWT expired", {
    "www-authenticate": 'Bearer error="invalid_token", error_description="JWT expired"',
  });
