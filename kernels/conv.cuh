// A convolution's sizes: see conv.py for the names. cuda/conv.py fills it in.
struct Conv {
  int N, C, H, W, O, KH, KW, OH, OW, SH, SW, PH, PW, DH, DW, G;
};
