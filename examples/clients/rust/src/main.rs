progenitor::generate_api!(spec = "generated/openapi-3.0.json");
fn main() {}
