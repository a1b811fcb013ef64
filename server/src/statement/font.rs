//! Owns: the two faces of the printed statement: how wide a text is, and how a face stands in a PDF so that its text can be
//! selected, searched and copied.
//! The files are the static Geist of the site (OFL, see public/fonts/geist-LICENSE.txt) with Latin, Cyrillic and the signs
//! that money needs, and its figures of equal width. A letter that is in neither is printed as a question mark.

use crate::error::{Error, Result};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Filter, Finish as _, Name, Pdf, Rect, Ref, Str};
use std::collections::BTreeMap;
use std::io::Write as _;
use ttf_parser::GlyphId;

static REGULAR: &[u8] = include_bytes!("geist-regular.ttf");
static SEMIBOLD: &[u8] = include_bytes!("geist-semibold.ttf");

const SYSTEM: SystemInfo<'static> = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// A face, and which of its glyphs were used.
pub(super) struct Face {
    data: &'static [u8],
    face: ttf_parser::Face<'static>,
    name: &'static str,
    used: BTreeMap<u16, char>,
}

impl Face {
    pub(super) fn regular() -> Result<Face> {
        Face::open(REGULAR, "Geist-Regular")
    }

    pub(super) fn semibold() -> Result<Face> {
        Face::open(SEMIBOLD, "Geist-SemiBold")
    }

    fn open(data: &'static [u8], name: &'static str) -> Result<Face> {
        let face = ttf_parser::Face::parse(data, 0).map_err(|error| Error::internal(name, error))?;
        Ok(Face { data, face, name, used: BTreeMap::new() })
    }

    /// The glyph of a letter, and the letter that it shows.
    fn glyph(&self, letter: char) -> (GlyphId, char) {
        let letter = if letter.is_whitespace() { ' ' } else { letter };
        match self.face.glyph_index(letter) {
            Some(glyph) => (glyph, letter),
            None => (self.face.glyph_index('?').unwrap_or_default(), '?'),
        }
    }

    /// How wide a text is at a size, in points.
    pub(super) fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|letter| self.advance(self.glyph(letter).0)).sum::<f32>() * size / 1_000.0
    }

    /// A glyph's width in thousandths of its size.
    fn advance(&self, glyph: GlyphId) -> f32 {
        let width = f32::from(self.face.glyph_hor_advance(glyph).unwrap_or_default());
        width * 1_000.0 / f32::from(self.face.units_per_em())
    }

    /// A text as the PDF has it: two bytes for each glyph.
    pub(super) fn encode(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len() * 2);
        for letter in text.chars().filter(|letter| letter.is_whitespace() || !letter.is_control()) {
            let (GlyphId(glyph), shown) = self.glyph(letter);
            self.used.entry(glyph).or_insert(shown);
            bytes.extend(glyph.to_be_bytes());
        }
        bytes
    }

    /// Writes the face as the font `id`, with the objects that follow from `next` on.
    pub(super) fn embed(&self, pdf: &mut Pdf, id: Ref, next: &mut Ref) -> Result<()> {
        let [cid, descriptor, file, unicode] = [next.bump(), next.bump(), next.bump(), next.bump()];
        let name = Name(self.name.as_bytes());
        pdf.type0_font(id)
            .base_font(name)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(cid)
            .to_unicode(unicode);

        let mut font = pdf.cid_font(cid);
        font.subtype(CidFontType::Type2).base_font(name).system_info(SYSTEM).font_descriptor(descriptor);
        font.default_width(0.0).cid_to_gid_map_predefined(Name(b"Identity"));
        let mut widths = font.widths();
        for glyph in self.used.keys() {
            widths.consecutive(*glyph, [self.advance(GlyphId(*glyph))]);
        }
        widths.finish();
        font.finish();

        let box_ = self.face.global_bounding_box();
        let of = f32::from;
        pdf.font_descriptor(descriptor)
            .name(name)
            .flags(FontFlags::NON_SYMBOLIC)
            .bbox(Rect::new(of(box_.x_min), of(box_.y_min), of(box_.x_max), of(box_.y_max)))
            .italic_angle(0.0)
            .ascent(of(self.face.ascender()))
            .descent(of(self.face.descender()))
            .cap_height(of(self.face.capital_height().unwrap_or(700)))
            .stem_v(80.0)
            .font_file2(file);

        let compressed = compress(self.data)?;
        let length = i32::try_from(self.data.len()).map_err(|error| Error::internal(self.name, error))?;
        pdf.stream(file, &compressed).filter(Filter::FlateDecode).pair(Name(b"Length1"), length);

        let mut map = UnicodeCmap::new(Name(b"Statement"), SYSTEM);
        for (glyph, letter) in &self.used {
            map.pair(*glyph, *letter);
        }
        pdf.cmap(unicode, &map.finish());
        Ok(())
    }
}

pub(super) fn compress(data: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let compressed = encoder.write_all(data).and_then(|()| encoder.finish());
    compressed.map_err(|error| Error::internal("compress a part of a PDF", error))
}
