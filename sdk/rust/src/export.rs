//! How a type becomes what the component exports.

/// Makes a type the component's: `export!(Type as delegate)`, `as ipam` or `as rewriter`. Natively it does nothing.
#[macro_export]
macro_rules! export {
    ($type:ty as delegate) => {
        $crate::__export!($type, delegate, Delegate, export_delegate, add, $crate::Plan);
    };
    ($type:ty as ipam) => {
        $crate::__export!($type, ipam, Ipam, export_ipam, allocate, $crate::Allocation);
    };
    ($type:ty as rewriter) => {
        $crate::__export!($type, rewriter, Rewriter, export_rewriter, rewrite, ::std::string::String);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($type:ty, $world:ident, $trait:ident, $export:ident, $function:ident, $answer:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "exported functions and sections have fixed names")]
        const _: () = {
            struct Component;
            impl $crate::bindings::$world::exports::weft::cni::$world::Guest for Component {
                fn $function(request: $crate::Request) -> ::std::result::Result<$answer, $crate::Error> {
                    $crate::start();
                    <$type as $crate::$trait>::$function(&request)
                }
            }
    $crate::bindings::$world::$export!(Component with_types_in $crate::bindings::$world);

            // SAFETY: a custom section of WebAssembly is data that the code never sees; the name is nobody else's.
            #[used]
            #[unsafe(link_section = "weft:contract")]
            static CONTRACT: [u8; 5] = $crate::CONTRACT;
        };
    };
}

/// What happens before a plugin's own code: a panic says in the host's log what it says natively on stderr.
pub fn start() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| {
        crate::log::write(crate::log::Level::Error, &panic.to_string());
    }));
}
