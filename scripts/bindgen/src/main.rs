//! Binds a compiled module to JavaScript: `bindgen MODULE FOLDER` writes `web.js` and `web_bg.wasm` into the folder.
//! The library is locked to the version of `wasm-bindgen` that the module was compiled with, as it must be.

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = arguments.as_slice() else { return Err("usage: bindgen MODULE FOLDER".into()) };
    Bindgen::new().web(true)?.typescript(false).out_name("web").input_path(module).generate(folder)?;
    Ok(())
}
